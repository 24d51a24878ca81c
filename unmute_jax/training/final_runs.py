"""Trains the runs of a probe that are tested: the chosen setting with every seed."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.results.record import finite
from unmute_jax.training import loop, selection
from unmute_jax.training.data import ProbeData, ProtocolData
from unmute_jax.training.search.study import Study
from unmute_jax.training.setup import Setup
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Params, Trial
from unmute_jax.training.workdir import Workdir


@dataclass(frozen=True)
class FinalRuns:
    """The trained parameters of one probe that are to be tested, one per seed.

    Attributes:
        params: Parameters with a leading axis of seeds.
        choices: The reported epoch of each seed and its validation score.
        best: The chosen learning rate and weight decay; None if nothing was trained.
        search: A summary of every trial that was compared.
        seconds: Time spent on all trainings, the search included.
    """

    params: Params
    choices: list[selection.Choice]
    best: Trial | None
    search: tuple[dict[str, Any], ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class ProbeRun:
    """One probe on one protocol: what is needed to search, train and refit it.

    Attributes:
        setup: The opened experiment.
        workdir: The folder of the run.
        name: The name of the probe.
        data: The clips of the protocol.
        mesh: The devices.
    """

    setup: Setup
    workdir: Workdir
    name: str
    data: ProtocolData
    mesh: Mesh

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the final runs, the first of which also searches."""
        return self.setup.seeds(self.name)

    def task(self, stage: str) -> loop.Task:
        """What one stage of the run trains: "search", "repeat ..." or "refit"."""
        probe = self.setup.probes[self.name]
        if stage == "refit":
            clips, validation = self.data.refit(probe.input_kind), None
        else:
            clips, validation = self.data.development(probe.input_kind)
        return loop.Task(
            name=f"{self.name}, {self.data.protocol.name}, {stage}",
            kind=self.setup.task,
            probe=probe,
            loss=self.setup.loss,
            train=clips,
            validation=validation,
        )

    def train_stack(self, stage: str, stack: tuple[Trial, ...]) -> loop.Trained:
        """Trains a stack of trials to the end, with checkpoints and metrics of its own.

        Args:
            stage: The stage that the trials belong to.
            stack: The trials.
        """
        names = self.name, self.data.protocol.name, stage
        return loop.train(
            self.task(stage),
            stack,
            self.setup.settings,
            Sharding(self.mesh),
            self.workdir.checkpoints(*names),
            lambda history: self.workdir.log(*names, stack, history),
        )


def train_probe(run: ProbeRun) -> FinalRuns:
    """Searches with the first seed, then trains the best setting with all seeds."""
    started, settings = time.monotonic(), run.setup.settings
    if settings.search == "sweep":
        runs = _after_sweep(run)
    else:
        runs = _after_search_of_rates(run)
    if settings.refit and runs.best is not None:
        # All seeds again, on training and validation clips together.
        refitted = run.train_stack("refit", _with_seeds(runs.best, run.seeds))
        runs = dataclasses.replace(runs, params=refitted.params)
    return dataclasses.replace(runs, seconds=time.monotonic() - started)


def _after_search_of_rates(run: ProbeRun) -> FinalRuns:
    """Trains every learning rate with the first seed, the best one with the others."""
    settings = run.setup.settings
    stack = tuple(
        Trial(
            learning_rate=rate,
            weight_decay=settings.optimizer.weight_decay,
            seed=run.seeds[0],
        )
        for rate in settings.optimizer.learning_rates
    )
    searched = run.train_stack("search", stack)
    assert searched.scores is not None
    chosen = selection.choose(searched.scores, settings.report_epoch)
    best = stack[chosen.trial]
    final, params = [chosen], [_trial(searched.params, chosen.trial)]
    if run.seeds[1:]:
        repeated = run.train_stack("repeat", _with_seeds(best, run.seeds[1:]))
        assert repeated.scores is not None
        final += selection.choices(repeated.scores, settings.report_epoch)
        params.append(repeated.params)
    compared = selection.choices(searched.scores, settings.report_epoch)
    return FinalRuns(
        params=jax.tree.map(lambda *x: np.concatenate(x), *params),
        choices=final,
        best=best,
        search=tuple(
            {"learning_rate": t.learning_rate, "validation": finite(c.validation)}
            for t, c in zip(stack, compared, strict=True)
        ),
    )


def _after_sweep(run: ProbeRun) -> FinalRuns:
    """Runs the study of the sweep, then trains its best trials with all seeds.

    Of these, the one with the best mean over seeds is reported. A trial with a seed
    that diverged is reported only if every other one has such a seed, too.
    """
    setup, settings = run.setup, run.setup.settings
    study = Study(
        key=setup.record_key(run.name, run.data.protocol, run.seeds[0]),
        task=run.task("search"),
        settings=settings,
        mesh=run.mesh,
        workdir=run.workdir,
    )
    trials = study.run()
    # On ties, the trial that was proposed earlier wins.
    finished = sorted(
        (t for t in trials if t.status == "finished"),
        key=lambda t: selection.rank(t.validation),
        reverse=True,
    )
    candidates: list[FinalRuns] = []
    for place, found in enumerate(finished[: settings.sweep.top], start=1):
        trial = Trial(
            learning_rate=found.learning_rate, weight_decay=found.weight_decay, seed=0
        )
        trained = run.train_stack(f"repeat {place}", _with_seeds(trial, run.seeds))
        assert trained.scores is not None
        candidates.append(
            FinalRuns(
                params=trained.params,
                choices=selection.choices(trained.scores, settings.report_epoch),
                best=trial,
                search=tuple(t.summary() for t in trials),
            )
        )
    return max(candidates, key=_mean_validation)


def _mean_validation(runs: FinalRuns) -> float:
    """The mean validation score over seeds, as a key to sort by."""
    return selection.rank(float(np.mean([c.validation for c in runs.choices])))


def _with_seeds(trial: Trial, seeds: tuple[int, ...]) -> tuple[Trial, ...]:
    return tuple(dataclasses.replace(trial, seed=seed) for seed in seeds)


def _trial(params: Params, k: int) -> Params:
    """The `k`-th trial of a stack, still with a leading axis."""
    return jax.tree.map(lambda x: x[k : k + 1], params)


def fit_probe(run: ProbeRun) -> FinalRuns:
    """Fits a probe that has nothing to choose and no seed."""
    settings, probe = run.setup.settings, run.setup.probes[run.name]
    started = time.monotonic()

    def fit(clips: ProbeData) -> Params:
        inputs = clips.read(np.arange(len(clips)))
        params = probe.fit(inputs, clips.labels)["params"]
        return jax.tree.map(lambda x: np.asarray(x)[None], params)

    clips, validation = run.data.development(probe.input_kind)
    params = fit(clips)
    logits = loop.logits(
        probe,
        distributed.replicate(params, run.mesh),
        validation,
        settings.batch_size,
        Sharding(run.mesh),
    )
    score = selection.score(logits, validation.labels, run.setup.dataset.task)
    scores = selection.ValidationScores((0,), score[None])
    chosen = selection.choose(scores, settings.report_epoch)
    if settings.refit:
        params = fit(run.data.refit(probe.input_kind))
    return FinalRuns(
        params=params,
        choices=[chosen],
        best=None,
        search=(),
        seconds=time.monotonic() - started,
    )
