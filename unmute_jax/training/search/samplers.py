"""Which learning rate and weight decay to try next, and which trials go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from unmute_jax.results.record import SearchTrial

# Prototypes move by their signs or their directions, and want larger steps: the two
# ranges of the paper (section 5; which probes have which is partly inferred).
PROTOTYPE_RATES = (2e-3, 8e-2)
OTHER_RATES = (1e-4, 7e-3)


@dataclass(frozen=True)
class Space:
    """Ranges that are searched, both ends included, evenly in their logarithm."""

    learning_rate: tuple[float, float]
    weight_decay: tuple[float, float]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """By the names of `Point`."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Point:
    """What a trial tries."""

    learning_rate: float
    weight_decay: float


def rates_of(probe: str) -> tuple[float, float]:
    """The learning rates that the paper searched for a probe."""
    return PROTOTYPE_RATES if probe.startswith("proto") else OTHER_RATES


def sobol(space: Space, count: int, seed: int) -> list[Point]:
    """The first `count` points of a scrambled Sobol sequence over `space`."""
    sequence = qmc.Sobol(len(space.ranges), rng=np.random.default_rng(seed))
    # A power of two: of other numbers SciPy warns that they are not balanced.
    unit = sequence.random_base2(max(0, math.ceil(math.log2(max(count, 1)))))[:count]
    low, high = (np.log([r[i] for r in space.ranges.values()]) for i in (0, 1))
    return [Point(*map(float, np.exp(low + u * (high - low)))) for u in unit]


def tpe(
    space: Space, done: Sequence[SearchTrial], count: int, seed: int
) -> list[Point]:
    """`count` points for which the trials so far speak, by TPE.

    They are a function of the arguments: a search that was stopped asks again and gets
    the same. Trials that were stopped early count as worse than all that went
    further; those that diverged as the worst.

    Args:
        space: What is searched.
        done: All trials so far, in the order in which they were proposed.
        count: How many to propose at once; they keep apart from each other.
        seed: For the sampler.
    """
    # A second of imports that only searches need.
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
    study.add_trials([_told(optuna, ranges, trial) for trial in done])
    asked = [study.ask(ranges).params for _ in range(count)]
    return [Point(**params) for params in asked]


def _told(optuna: Any, ranges: dict[str, Any], trial: SearchTrial) -> Any:
    """A trial of ours as one of Optuna's."""
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
