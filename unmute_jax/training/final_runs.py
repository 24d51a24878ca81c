"""Which trainings of a probe are tested: a search, then repeats of its best."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.training import loop, selection
from unmute_jax.training.batches import ProbeData
from unmute_jax.training.search.study import Study
from unmute_jax.training.setup import ProtocolData, Setup, record_key, seeds_of
from unmute_jax.training.step import Params, Trial
from unmute_jax.training.workdir import Workdir, finite


@dataclass(frozen=True)
class FinalRuns:
    """The trainings of one probe that are to be tested, one per seed.

    Attributes:
        params: With a leading axis of seeds.
        choices: What validation said of each.
        best: Rate and decay that were chosen; None where nothing was trained.
        search: Every trial that was compared.
        seconds: Time spent on all stacks.
    """

    params: Params
    choices: list[selection.Choice]
    best: Trial | None
    search: tuple[dict[str, Any], ...]
    seconds: float = 0.0


def train(
    setup: Setup, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> FinalRuns:
    """A search with the first seed, then the best it found with all of them."""
    settings, probe = setup.settings, setup.probes[name]
    seeds, protocol = seeds_of(setup, name), data.protocol.name
    started = time.monotonic()

    def train_stack(stage: str, stack: tuple[Trial, ...]) -> loop.Trained:
        if stage == "refit":
            clips, validation = data.refit(probe.input_kind), None
        else:
            clips, validation = data.development(probe.input_kind)
        return loop.train(
            loop.Task(f"{name}, {protocol}, {stage}", setup.task, clips, validation),
            probe,
            stack,
            setup.loss,
            settings,
            mesh,
            workdir.checkpoints(name, protocol, stage),
            lambda history: workdir.log(name, protocol, stage, stack, history),
        )

    if settings.search == "sweep":
        found = _sweep(setup, workdir, name, data, mesh, train_stack)
    else:
        found = _search_rates(setup, name, train_stack)

    # Or all seeds again, on training and validation clips together.
    if settings.refit and found.best is not None:
        refitted = train_stack("refit", _with_seeds(found.best, seeds))
        found = dataclasses.replace(found, params=refitted.params)
    return dataclasses.replace(found, seconds=time.monotonic() - started)


TrainStack = Callable[[str, tuple[Trial, ...]], loop.Trained]


def _search_rates(setup: Setup, name: str, train_stack: TrainStack) -> FinalRuns:
    """Every rate with the first seed, the best with the others."""
    settings, seeds = setup.settings, seeds_of(setup, name)
    stack = tuple(
        Trial(
            learning_rate=rate,
            weight_decay=settings.optimizer.weight_decay,
            seed=seeds[0],
        )
        for rate in settings.optimizer.learning_rates
    )
    searched = train_stack("search", stack)
    assert searched.scores is not None
    choice = selection.choose(searched.scores, settings.report_epoch)
    best = stack[choice.trial]
    choices, params = [choice], [_trial(searched.params, choice.trial)]
    if seeds[1:]:
        repeated = train_stack("repeat", _with_seeds(best, seeds[1:]))
        choices += _choices(repeated, settings.report_epoch)
        params.append(repeated.params)
    _, at_epoch = searched.scores.reported(settings.report_epoch)
    return FinalRuns(
        params=jax.tree.map(lambda *x: np.concatenate(x), *params),
        choices=choices,
        best=best,
        search=tuple(
            {"learning_rate": t.learning_rate, "validation": finite(s)}
            for t, s in zip(stack, at_epoch, strict=True)
        ),
    )


def _sweep(
    setup: Setup,
    workdir: Workdir,
    name: str,
    data: ProtocolData,
    mesh: Mesh,
    train_stack: TrainStack,
) -> FinalRuns:
    """The search of `training.sweep`, then its best trials with all seeds."""
    settings, seeds = setup.settings, seeds_of(setup, name)
    probe, protocol = setup.probes[name], data.protocol
    clips, validation = data.development(probe.input_kind)
    label = f"{name}, {protocol.name}, search"
    study = Study(
        key=record_key(setup, name, protocol, seeds[0]),
        task=loop.Task(label, setup.task, clips, validation),
        probe=probe,
        loss=setup.loss,
        settings=settings,
        mesh=mesh,
        workdir=workdir,
    )
    tried = study.run()
    finished = [t for t in tried if t.status == "finished"]
    # The order of equals is that of their proposal.
    finished.sort(key=lambda t: -(t.validation or 0.0))
    found = []
    for place, one in enumerate(finished[: settings.sweep.top], start=1):
        trial = Trial(
            learning_rate=one.learning_rate, weight_decay=one.weight_decay, seed=0
        )
        trained = train_stack(f"repeat {place}", _with_seeds(trial, seeds))
        choices = _choices(trained, settings.report_epoch)
        mean = float(np.mean([c.validation for c in choices]))
        found.append((mean, trial, trained.params, choices))
    _, best, params, choices = max(found, key=lambda x: x[0])
    return FinalRuns(
        params=params,
        choices=choices,
        best=best,
        search=tuple(t.summary() for t in tried),
    )


def _with_seeds(trial: Trial, seeds: tuple[int, ...]) -> tuple[Trial, ...]:
    return tuple(dataclasses.replace(trial, seed=seed) for seed in seeds)


def _choices(trained: loop.Trained, report_epoch: str) -> list[selection.Choice]:
    """What validation says of each trial at the epoch that is reported."""
    assert trained.scores is not None
    epoch, found = trained.scores.reported(report_epoch)
    return [selection.Choice(i, epoch, float(s)) for i, s in enumerate(found)]


def _trial(params: Params, k: int) -> Params:
    """The `k`-th of a stack, still with a leading axis."""
    return jax.tree.map(lambda x: x[k : k + 1], params)


def fit(
    setup: Setup, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> FinalRuns:
    """The one finalist of a probe that has nothing to choose and no seed."""
    del workdir
    settings, probe = setup.settings, setup.probes[name]
    started = time.monotonic()

    def fitted(clips: ProbeData) -> Params:
        everything = clips.read(np.arange(len(clips)))
        params = probe.fit(everything, clips.labels)["params"]
        return jax.tree.map(lambda x: np.asarray(x)[None], params)

    clips, validation = data.development(probe.input_kind)
    params = fitted(clips)
    found = loop.logits(
        probe,
        distributed.replicate(params, mesh),
        validation,
        settings.batch_size,
        mesh,
    )
    score = selection.score(found, validation.labels, setup.dataset.task)
    scores = selection.ValidationScores((0,), score[None])
    choice = selection.choose(scores, settings.report_epoch)
    if settings.refit:
        params = fitted(data.refit(probe.input_kind))
    return FinalRuns(
        params=params,
        choices=[choice],
        best=None,
        search=(),
        seconds=time.monotonic() - started,
    )
