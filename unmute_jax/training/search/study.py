"""The paper's search: many trials of one probe, most of which are stopped early.

Trials are trained in rounds: the points of a Sobol sequence, then what TPE proposes in
the light of all before, some at a time. A round is a stack of trials that share every
pass over the tokens; at each rung the worse ones leave it, and what is left is a
narrower stack. What a round proposes and which of its trials go on are functions of
the records of the trials before, so a search that was stopped ends like one that was
not.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, distributed, results
from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically
from unmute_jax.probes import Probe
from unmute_jax.training import loop
from unmute_jax.training.checkpoints import History
from unmute_jax.training.search.halving import promoted, rung_epochs
from unmute_jax.training.search.samplers import Point, Space, rates_of, sobol, tpe
from unmute_jax.training.search.stack_size import fastest, trials_at_once
from unmute_jax.training.step import LossFn, State, Trial
from unmute_jax.training.workdir import Workdir, finite


@dataclass(frozen=True)
class Study:
    """One search: what is searched for, and where it writes.

    Attributes:
        key: Of its records: experiment, dataset, encoder, probe, protocol and seed.
        task: The data.
        probe: The module.
        loss: From `losses.make_loss`.
        settings: Of the experiment.
        mesh: The devices.
        workdir: For records, checkpoints and metrics.
    """

    key: dict
    task: loop.Task
    probe: Probe
    loss: LossFn
    settings: config.Experiment
    mesh: Mesh
    workdir: Workdir

    @property
    def space(self) -> Space:
        """What is searched: the paper's ranges, where the settings say nothing."""
        chosen = self.settings.sweep
        low, high = rates_of(self.key["probe"])
        return Space(
            learning_rate=(chosen.lowest_rate or low, chosen.highest_rate or high),
            weight_decay=(chosen.lowest_decay, chosen.highest_decay),
        )

    @functools.cached_property
    def width(self) -> int:
        """How many trials are trained together.

        What was measured is written down: a search that goes on has the same stacks.
        """
        chosen = self.probe, self.loss, self.task.train, self.settings, self.mesh
        room = distributed.global_min(trials_at_once(*chosen))
        devices = [d.device_kind for d in self.mesh.devices.flat]
        path = self.folder("stacks") / "measured.json"
        found = distributed.broadcast_from_writer(lambda: _read_measured(path, devices))
        if found is None:
            most = min(room, self.settings.sweep.widest)
            found = fastest(*chosen, most)
            if distributed.is_writer():
                text = json.dumps({"devices": devices, "trials": found})
                write_atomically(path, text)
        return min(room, found)

    def run(self) -> list[results.SearchTrial]:
        """All trials of the search, in the order in which they were proposed.

        Raises:
            InputError: Every trial diverged.
        """
        done: list[results.SearchTrial] = []
        for number, (proposer, count) in enumerate(_rounds(self.settings.sweep)):
            places = range(len(done), len(done) + count)
            found = self._records(places)
            if any(trial is None for trial in found):
                points = self._propose(proposer, count, number, done)
                _Round(self, number, proposer, points, done).run()
                found = self._records(places)
            done += [trial for trial in found if trial is not None]
            # Their records are all that is needed of them.
            if distributed.is_writer():
                shutil.rmtree(self.folder(f"round {number}"), ignore_errors=True)
        if distributed.is_writer():
            shutil.rmtree(self.folder("stacks"), ignore_errors=True)
        if not any(trial.status == "finished" for trial in done):
            raise InputError(
                f"every trial of {self.key['probe']} diverged: lower "
                "config.sweep.lowest_rate and highest_rate"
            )
        return done

    def folder(self, part: str) -> pathlib.Path:
        """For what one part of the search writes."""
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
        """What is known of some trials, the same in all processes."""
        return distributed.broadcast_from_writer(
            lambda: [self._read(number) for number in numbers]
        )

    def _read(self, number: int) -> results.SearchTrial | None:
        name = results.record_name(**self.key, number=number)
        path = self.workdir.trials / name
        return results.read_search_trial(path) if path.exists() else None


def _read_measured(path: pathlib.Path, devices: list[str]) -> int | None:
    """What an earlier run on the same devices found."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["trials"] if found["devices"] == devices else None


def _rounds(sweep: config.Sweep) -> Iterator[tuple[str, int]]:
    """Who proposes the trials of each round, and how many."""
    yield "sobol", sweep.sobol
    for start in range(0, sweep.tpe, sweep.tpe_at_once):
        yield "tpe", min(sweep.tpe_at_once, sweep.tpe - start)


@dataclass
class _Round:
    """Trials that are trained together, from their proposal to their records."""

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
        if settings.report_epoch == "last":
            # Nothing is read of the epochs between two rungs.
            settings = dataclasses.replace(settings, eval_every=settings.epochs)
        self.settings = settings

    def run(self) -> None:
        """Trains, rung by rung, and writes a record for each trial that ends."""
        sweep, settings = self.settings.sweep, self.settings
        rungs = rung_epochs(settings.epochs, sweep.halvings, sweep.reduction)
        alive, begin = list(range(len(self.stack))), None
        for rung in rungs:
            state = self._train(alive, begin, rung)
            reached = np.asarray([self._score(k) for k in alive])
            if rung == rungs[-1]:
                self._end(alive, "finished", rung)
                return
            earlier = [dict(t.scores).get(rung) for t in self.before]
            earlier = np.asarray([np.nan if s is None else s for s in earlier])
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
        """The trials `alive` up to a rung; their states, in the same order."""
        study, states = self.study, []
        width = study.width
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
            study.probe,
            stack,
            study.loss,
            self.settings,
            study.mesh,
            # Other devices may have other groups.
            study.folder(f"round {self.number}") / f"{rung}-{group[0]}-{len(group)}",
            log,
            begin=begin,
            epochs=rung,
            shard_trials=1 < study.mesh.size <= len(stack),
        )

    def _score(self, k: int) -> float:
        """Of a trial so far; NaN once it diverged."""
        scores = [score for _, score in self.scores[k]]
        if self.settings.report_epoch == "last" or not np.isfinite(scores[-1]):
            return scores[-1]
        return max(scores)

    def _end(self, ended: Sequence[int], status: str, epoch: int) -> None:
        """Writes the records of trials that end here."""
        for k in ended:
            score = self._score(k)
            trial = results.SearchTrial(
                **self.study.key,
                number=len(self.before) + k,
                proposed_by=self.proposer,
                learning_rate=self.points[k].learning_rate,
                weight_decay=self.points[k].weight_decay,
                status=status if np.isfinite(score) else "diverged",
                epochs=epoch,
                validation=finite(score),
                scores=tuple((e, finite(s)) for e, s in self.scores[k]),
            )
            if distributed.is_writer():
                results.write_search_trial(self.study.workdir.trials, trial)
