"""Proposes learning rates and weight decays: a Sobol sequence, then TPE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmute_jax.results.record import SearchTrial


@dataclass(frozen=True)
class Space:
    """The ranges that are searched, both ends included, evenly in the logarithm."""

    learning_rate: tuple[float, float]
    weight_decay: tuple[float, float]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ranges by the names of `Point`."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Point:
    """The hyper-parameters of one trial."""

    learning_rate: float
    weight_decay: float


def sobol(space: Space, count: int, seed: int) -> list[Point]:
    """The first `count` points of a scrambled Sobol sequence over `space`."""
    from scipy.stats import qmc  # A second of imports that only searches need.

    sequence = qmc.Sobol(len(space.ranges), rng=np.random.default_rng(seed))
    # A power of two, because SciPy warns that other numbers are not balanced.
    unit = sequence.random_base2(max(0, math.ceil(math.log2(max(count, 1)))))[:count]
    low, high = (np.log([r[i] for r in space.ranges.values()]) for i in (0, 1))
    return [Point(*map(float, np.exp(low + u * (high - low)))) for u in unit]


def tpe(
    space: Space, done: Sequence[SearchTrial], count: int, seed: int
) -> list[Point]:
    """Proposes `count` points in the light of the trials so far, by TPE.

    The points are a function of the arguments: a search that was stopped asks again
    and gets the same. Trials that were stopped early count as worse than all that
    went further; those that diverged count as the worst.

    Args:
        space: The ranges that are searched.
        done: All trials so far, in the order in which they were proposed.
        count: The number of points to propose at once, at a distance from each other.
        seed: The seed of the sampler.
    """
    # It takes a second to import, and only searches need it.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(*ends, log=True)
        for name, ends in space.ranges.items()
    }
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_frozen_trial(optuna, ranges, trial) for trial in done])
    asked = [study.ask(ranges).params for _ in range(count)]
    return [Point(**params) for params in asked]


def _frozen_trial(optuna: Any, ranges: dict[str, Any], trial: SearchTrial) -> Any:
    """The same trial as one of Optuna's."""
    states = optuna.trial.TrialState
    finished = trial.status == "finished"
    scores = {e: s for e, s in trial.scores if s is not None}
    return optuna.trial.create_trial(
        params={name: getattr(trial, name) for name in ranges},
        distributions=ranges,
        state=states.COMPLETE if finished else states.PRUNED,
        value=trial.validation if finished else None,
        intermediate_values={} if trial.status == "diverged" else scores,
    )
