"""The search of the paper: many trials of one probe, most of which are stopped early.

Trials are trained in rounds: first the points of a Sobol sequence, then those that TPE
proposes in the light of all before, a few at a time. A round is a stack of trials that
share every pass over the tokens. At each rung the worse trials leave it, and the rest
is a narrower stack. What a round proposes and which of its trials are promoted are
functions of the records of earlier trials, so that a search that was stopped ends like
one that was not.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, distributed, results
from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically
from unmute_jax.results.record import finite
from unmute_jax.results.typed_json import DamagedFile, as_dataclass, read_object
from unmute_jax.training import loop
from unmute_jax.training.checkpoints import History
from unmute_jax.training.divergence import advice
from unmute_jax.training.search.halving import promoted, rung_epochs
from unmute_jax.training.search.samplers import Point, Space, sobol, tpe
from unmute_jax.training.search.stack_size import fastest_stack, trials_at_once
from unmute_jax.training.selection import Choice
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.starts import never_started
from unmute_jax.training.step import State, Trial
from unmute_jax.training.workdir import Workdir

# Validation scores of one trial by epoch; None or NaN where it had diverged.
Scores = Sequence[tuple[int, float | None]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What is written down of the width of stacks."""

    devices: list[str]
    trials: int


@dataclass(frozen=True)
class Study:
    """The search for the learning rate and weight decay of one probe.

    Attributes:
        key: The key of its records: experiment, data set, encoder, probe, protocol and
            seed.
        task: The probe, its loss and its data.
        settings: The experiment's settings.
        mesh: The devices.
        workdir: The folder of the run, for records, checkpoints and metrics.
    """

    key: dict[str, Any]
    task: loop.Task
    settings: config.Experiment
    mesh: Mesh
    workdir: Workdir

    @property
    def space(self) -> Space:
        """The ranges that are searched."""
        chosen = self.settings.sweep
        return Space(
            learning_rate=chosen.rates_for(self.key["probe"]),
            weight_decay=(chosen.lowest_decay, chosen.highest_decay),
        )

    @functools.cached_property
    def width(self) -> int:
        """How many trials are trained together.

        What was measured is written down, so that a search that goes on has the same
        stacks.
        """
        chosen = self.task, self.settings, self.mesh
        room = trials_at_once(*chosen)
        devices = [d.device_kind for d in self.mesh.devices.flat]
        path = self.folder("stacks") / "measured.json"
        width = distributed.broadcast_from_writer(lambda: _read_measured(path, devices))
        if width is None:
            width = fastest_stack(*chosen, min(room, self.settings.sweep.widest))
            if distributed.is_writer():
                text = json.dumps({"devices": devices, "trials": width})
                write_atomically(path, text)
        return min(room, width)

    def run(self) -> list[results.SearchTrial]:
        """Returns all trials of the search, in the order in which they were proposed.

        Raises:
            InputError: Every trial diverged.
        """
        done: list[results.SearchTrial] = []
        for number, (proposer, count) in enumerate(_rounds(self.settings.sweep)):
            places = range(len(done), len(done) + count)
            trials = self._records(places)
            if any(trial is None for trial in trials):
                points = self._propose(proposer, count, number, done)
                _Round(self, number, proposer, points, done).run()
                trials = self._records(places)
            done += [trial for trial in trials if trial is not None]
            # From here on, the records are all that is needed of a round.
            if distributed.is_writer():
                shutil.rmtree(self.folder(f"round {number}"), ignore_errors=True)
        if distributed.is_writer():
            shutil.rmtree(self.folder("stacks"), ignore_errors=True)
        if not any(trial.status == "finished" for trial in done):
            raise InputError(
                f"every trial of {self.key['probe']} diverged: "
                f"{advice(self.settings, self.space.learning_rate)}"
            )
        return done

    def folder(self, part: str) -> pathlib.Path:
        """The folder for the checkpoints of one part of the search."""
        names = self.key["probe"], self.key["protocol"], "search"
        return self.workdir.checkpoints(*names, part)

    def _propose(
        self, proposer: str, count: int, number: int, done: list[results.SearchTrial]
    ) -> list[Point]:
        seed = self.settings.seed
        if proposer == "sobol":
            return sobol(self.space, count, seed)
        return tpe(self.space, done, count, seed + number)

    def _records(self, numbers: range) -> list[results.SearchTrial | None]:
        """The trials that have a record, the same in all processes."""
        return distributed.broadcast_from_writer(
            lambda: [self._read(number) for number in numbers]
        )

    def _read(self, number: int) -> results.SearchTrial | None:
        name = results.record_name(**self.key, number=number)
        path = self.workdir.trials / name
        if not path.exists():
            return None
        try:
            return results.read_search_trial(path)
        except DamagedFile as error:
            _log.warning("%s: it is made again", error)
            return None


def _read_measured(path: pathlib.Path, devices: list[str]) -> int | None:
    """The width that an earlier run measured on the same devices."""
    if not path.exists():
        return None
    try:
        values = read_object(path, "what an earlier run measured")
        measured = as_dataclass(_Measured, values, str(path))
    except DamagedFile as error:
        _log.warning("%s: it is measured again", error)
        return None
    return measured.trials if measured.devices == devices else None


def _rounds(sweep: config.Sweep) -> Iterator[tuple[str, int]]:
    """The proposer and the number of trials of each round."""
    yield "sobol", sweep.sobol
    for start in range(0, sweep.tpe, sweep.tpe_at_once):
        yield "tpe", min(sweep.tpe_at_once, sweep.tpe - start)


def score_at(scores: Scores, epoch: int, report_epoch: str) -> float:
    """The score by which trials are compared at a rung; NaN once they diverged.

    Args:
        scores: The validation scores of a trial.
        epoch: The epoch of the rung.
        report_epoch: "last", the score at the rung; "best", the best one until then.

    Returns:
        The score, or NaN if the trial has diverged or never reached the rung.
    """
    so_far = {e: math.nan if s is None else s for e, s in scores if e <= epoch}
    at_rung = so_far.get(epoch, math.nan)
    if report_epoch == "last" or not math.isfinite(at_rung):
        return at_rung
    return max(s for s in so_far.values() if math.isfinite(s))


@dataclass
class _Round:
    """Trials that are trained together, from their proposal to their records.

    Attributes:
        study: The search.
        number: The place of the round in it.
        proposer: "sobol" or "tpe".
        points: The hyper-parameters of the trials.
        before: The trials of all earlier rounds.
    """

    study: Study
    number: int
    proposer: str
    points: list[Point]
    before: list[results.SearchTrial]

    def __post_init__(self):
        settings = self.study.settings
        self.stack = tuple(
            Trial(**dataclasses.asdict(point), seed=settings.seed)
            for point in self.points
        )
        self.scores: list[list[tuple[int, float]]] = [[] for _ in self.stack]
        self.histories: list[History] = [[] for _ in self.stack]
        if settings.report_epoch == "last":
            # The epochs between two rungs decide nothing.
            settings = dataclasses.replace(settings, eval_every=settings.epochs)
        self.settings = settings

    def run(self) -> None:
        """Trains, rung by rung, and writes a record for each trial that ends."""
        sweep, settings = self.settings.sweep, self.settings
        rungs = rung_epochs(settings.epochs, sweep.halvings, sweep.reduction)
        alive, begin = list(range(len(self.stack))), None
        for rung in rungs:
            state = self._train(alive, begin, rung)
            if rung == rungs[-1]:
                self._end(alive, "finished", rung)
                return
            reached = self._scores_at(rung, [self.scores[k] for k in alive])
            earlier = self._scores_at(rung, [t.scores for t in self.before])
            keep = promoted(reached, earlier, sweep.reduction)
            numbers = np.asarray(alive)
            self._end(numbers[~keep].tolist(), "stopped", rung)
            alive = numbers[keep].tolist()
            if not alive:
                return
            begin = rung, jax.tree.map(lambda x, keep=keep: x[keep], state)

    def _train(
        self, alive: list[int], begin: tuple[int, State] | None, rung: int
    ) -> State:
        """Trains the trials `alive` up to a rung; returns their states in order."""
        states, width = [], self.study.width
        for start in range(0, len(alive), width):
            group = alive[start : start + width]
            own = None
            if begin is not None:
                part = slice(start, start + width)
                own = begin[0], jax.tree.map(lambda x, part=part: x[part], begin[1])
            trained = self._train_stack(group, own, rung)
            states.append(trained.state)
            for i, k in enumerate(group):
                self.scores[k] += [
                    (e["epoch"], e["validation"][i]) for e in trained.history
                ]
                self.histories[k] += [_of_trial(e, i) for e in trained.history]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *states)

    def _train_stack(
        self, group: list[int], begin: tuple[int, State] | None, rung: int
    ) -> loop.Trained:
        study = self.study
        stack = tuple(self.stack[k] for k in group)
        stage = f"search {self.number}, epoch {rung}, from {group[0]}"

        def log(history: History) -> None:
            names = study.key["probe"], study.key["protocol"], stage
            study.workdir.log(*names, stack, history)

        return loop.train(
            study.task,
            stack,
            self.settings,
            Sharding.for_trials(study.mesh, len(stack)),
            # The size is in the name, because other devices may have other groups.
            study.folder(f"round {self.number}") / f"{rung}-{group[0]}-{len(group)}",
            log,
            begin=begin,
            epochs=rung,
        )

    def _scores_at(self, rung: int, trials: Sequence[Scores]) -> np.ndarray:
        report_epoch = self.settings.report_epoch
        scores = [score_at(scores, rung, report_epoch) for scores in trials]
        return np.asarray(scores, np.float64)

    def _end(self, ended: Sequence[int], status: str, epoch: int) -> None:
        """Writes the records of trials that end here."""
        for k in ended:
            score = score_at(self.scores[k], epoch, self.settings.report_epoch)
            trial = results.SearchTrial(
                **self.study.key,
                number=len(self.before) + k,
                proposed_by=self.proposer,
                learning_rate=self.points[k].learning_rate,
                weight_decay=self.points[k].weight_decay,
                status=status if math.isfinite(score) else "diverged",
                epochs=epoch,
                validation=finite(score),
                scores=tuple((e, finite(s)) for e, s in self.scores[k]),
                never_started=self._never_started(k, epoch, score),
            )
            if distributed.is_writer():
                results.write_search_trial(self.study.workdir.trials, trial)

    def _never_started(self, k: int, epoch: int, score: float) -> bool:
        """Whether a trial that ends at this epoch never left its start."""
        validation = self.study.task.validation
        assert validation is not None
        labels = validation.valid_targets
        choice = Choice(0, epoch, score)
        return never_started(choice, self.histories[k], labels, self.study.task.kind)


def _of_trial(entry: dict[str, Any], i: int) -> dict[str, Any]:
    """The entry of a history as that of a stack of the one trial."""
    return {k: [v[i]] if isinstance(v, list) else v for k, v in entry.items()}
