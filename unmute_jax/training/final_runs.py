"""Trains the runs of a probe that are tested: the chosen setting with every seed."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.probes import Probe, Reading
from unmute_jax.results.record import finite
from unmute_jax.store.reader import TokenStore
from unmute_jax.training import loop, selection
from unmute_jax.training.data import ProbeData, ProtocolData
from unmute_jax.training.divergence import advice
from unmute_jax.training.length import steps_of, with_least_steps
from unmute_jax.training.search.study import Study
from unmute_jax.training.setup import Setup
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.starts import never_started
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
        probe: The probe, with the options that validation chose.
        ranges: The lowest and the highest value that was searched, by hyper-parameter.
        chosen: The options of the probe that validation chose.
        steps: Optimiser steps of each training; 0 if nothing was trained.
        never_started: For each seed, whether its training never left its start.
        seconds: Time spent on all trainings, the search included.
    """

    params: Params
    choices: list[selection.Choice]
    best: Trial | None
    search: tuple[dict[str, Any], ...]
    probe: Probe
    ranges: dict[str, tuple[float, float]]
    chosen: dict[str, int | float] = field(default_factory=dict)
    steps: int = 0
    never_started: tuple[bool, ...] = ()
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

    @property
    def probe(self) -> Probe:
        """The probe."""
        return self.setup.probes[self.name]

    @property
    def reading(self) -> Reading:
        """What the probe reads of the clips."""
        return self.setup.reading(self.name)

    @property
    def stores(self) -> dict[str, TokenStore]:
        """The token store of each split that the probe reads."""
        return self.data.stores[self.reading.layer]

    @property
    def clips(self) -> int:
        """The number of training clips."""
        return sum(self.stores[s].n for s in self.data.protocol.train)

    @property
    def settings(self) -> Experiment:
        """The settings, with as many epochs as the training clips need."""
        return with_least_steps(self.setup.settings, self.clips)

    @property
    def steps(self) -> int:
        """Optimiser steps of each training."""
        return steps_of(self.setup.settings, self.clips)

    def task(self, stage: str) -> loop.Task:
        """What one stage of the run trains: "search", "repeat ..." or "refit"."""
        if stage == "refit":
            clips, validation = self.data.refit(self.reading), None
        else:
            clips, validation = self.data.development(self.reading)
        return loop.Task(
            name=f"{self.name}, {self.data.protocol.name}, {stage}",
            kind=self.setup.task,
            probe=self.probe,
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
            self.settings,
            Sharding(self.mesh),
            self.workdir.checkpoints(*names),
            lambda history: self.workdir.log(*names, stack, history),
        )

    def never_started(
        self, trained: loop.Trained, choices: Sequence[selection.Choice]
    ) -> tuple[bool, ...]:
        """For each choice among a stack, whether its training never left its start.

        Args:
            trained: The stack after training.
            choices: The trials of the stack that are asked about.
        """
        _, validation = self.data.development(self.reading)
        labels = validation.valid_targets
        kind, history = self.setup.task, trained.history
        return tuple(never_started(c, history, labels, kind) for c in choices)


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
    return dataclasses.replace(
        runs, steps=run.steps, seconds=time.monotonic() - started
    )


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
    rates = settings.optimizer.learning_rates
    ends = min(rates), max(rates)
    chosen = selection.choose(
        searched.scores, settings.report_epoch, advice(settings, ends)
    )
    best = stack[chosen.trial]
    final, params = [chosen], [_trial(searched.params, chosen.trial)]
    stuck = run.never_started(searched, final)
    if run.seeds[1:]:
        repeated = run.train_stack("repeat", _with_seeds(best, run.seeds[1:]))
        assert repeated.scores is not None
        others = selection.choices(repeated.scores, settings.report_epoch)
        final += others
        stuck += run.never_started(repeated, others)
        params.append(repeated.params)
    compared = selection.choices(searched.scores, settings.report_epoch)
    return FinalRuns(
        params=jax.tree.map(lambda *x: np.concatenate(x), *params),
        choices=final,
        best=best,
        search=tuple(
            {"learning_rate": t.learning_rate, "validation": finite(c.validation)}
            | ({"never_started": True} if is_stuck else {})
            for t, c, is_stuck in zip(
                stack, compared, run.never_started(searched, compared), strict=True
            )
        ),
        probe=run.probe,
        ranges={"learning_rate": ends} if len(rates) > 1 else {},
        never_started=stuck,
    )


def _after_sweep(run: ProbeRun) -> FinalRuns:
    """Runs the study of the sweep, then trains its best trials with all seeds.

    Of these, the one with the best mean over seeds is reported. A trial with a seed
    that diverged is reported only if every other one has such a seed, too.
    """
    setup, settings = run.setup, run.settings
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
        final = selection.choices(trained.scores, settings.report_epoch)
        candidates.append(
            FinalRuns(
                params=trained.params,
                choices=final,
                best=trial,
                search=tuple(t.summary() for t in trials),
                probe=run.probe,
                ranges=study.space.ranges,
                never_started=run.never_started(trained, final),
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
    """Fits a probe that has no seed; validation chooses options that are not set.

    What is fitted does not depend on these options, so that it is fitted once.
    """
    settings, started = run.setup.settings, time.monotonic()

    def fit(clips: ProbeData) -> Params:
        inputs = clips.read(np.arange(len(clips)))
        params = run.probe.fit(inputs, clips.labels)["params"]
        return jax.tree.map(lambda x: np.asarray(x)[None], params)

    clips, validation = run.data.development(run.reading)
    params = fit(clips)
    placed = distributed.replicate(params, run.mesh)

    def logits(probe: Probe) -> np.ndarray:
        size, sharding = settings.batch_size, Sharding(run.mesh)
        return loop.logits(probe, placed, validation, size, sharding)

    tried = _options_to_try(run.probe, settings)
    outputs = np.concatenate(
        [logits(run.probe.clone(**options)) for options in tried], 1
    )
    found = selection.score(outputs, validation.labels, run.setup.dataset.task)
    scores = selection.ValidationScores((0,), found[None])
    chosen = selection.choose(scores, settings.report_epoch)
    options = tried[chosen.trial]
    if settings.refit:
        params = fit(run.data.refit(run.reading))
    return FinalRuns(
        params=params,
        choices=[dataclasses.replace(chosen, trial=0)],
        best=None,
        search=tuple(
            {**values, "validation": finite(float(score))}
            for values, score in zip(tried, found, strict=True)
        )
        if options
        else (),
        probe=run.probe.clone(**options),
        ranges={
            name: (float(min(values)), float(max(values)))
            for name in options
            if len(values := {x[name] for x in tried}) > 1
        },
        chosen=options,
        never_started=(False,),
        seconds=time.monotonic() - started,
    )


def _options_to_try(probe: Probe, settings: Experiment) -> list[dict[str, Any]]:
    """All combinations of the options that are not set; one without any if none is."""
    values = {
        "neighbours": [int(k) for k in settings.sweep.neighbours],
        "temperature": list(settings.sweep.temperatures),
    }
    free = [name for name in values if getattr(probe, name, 0) is None]
    combined = itertools.product(*(values[name] for name in free))
    return [dict(zip(free, chosen, strict=True)) for chosen in combined]
