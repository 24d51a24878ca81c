"""The folder of one run: settings, metrics, checkpoints, results and plots."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from unmute_jax import bounds, distributed
from unmute_jax.config import WHERE, Experiment, what_counts
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import describe_fault, fitting, write_atomically
from unmute_jax.locks import locked
from unmute_jax.results.record import finite
from unmute_jax.results.record_check import check_settings
from unmute_jax.results.typed_json import DamagedFile, as_dataclass, parse_object
from unmute_jax.training.checkpoints import History
from unmute_jax.training.step import Trial

# The lock file in the folder of a run.
LOCK = ".lock"
# Differences between two runs that a message lists.
_LISTED = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """The types of a line of `metrics.jsonl`."""

    probe: str
    protocol: str
    stage: str
    seed: int
    learning_rate: float
    epoch: int
    loss: float | None
    validation: float | None = None


class Workdir:
    """The folder of one run. A run that is started again goes on from what is there.

    Attributes:
        path: The folder.
        results: Folder of the records.
        trials: Folder of the records of search trials.
        plots: Folder of the plots.
        probes: Folder of the trained probes.
        predictions: Folder of the logits of test clips.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Experiment):
        """Begins or reopens a run.

        Args:
            path: The folder, which need not exist.
            settings: The settings of the run.

        Raises:
            InputError: The path is not a folder, or holds a run with other settings.
        """
        self.path = _folder(path)
        self.results = self.results_of(self.path)
        self.trials = self.path / "trials"
        self.plots = self.path / "plots"
        self.probes = self.path / "probes"
        self.predictions = self.path / "predictions"
        self._metrics = self.path / "metrics.jsonl"
        self.pin("config", settings.to_dict(), self._what_counts)
        self._lines = self._read_metrics()

    @staticmethod
    def results_of(path: str | os.PathLike[str]) -> pathlib.Path:
        """The folder of the records of a run in `path`."""
        return pathlib.Path(path).expanduser() / "results"

    def checkpoints(self, *names: str) -> pathlib.Path:
        """The folder of the checkpoints of one stack, made of plain names."""
        folder = self.path / "checkpoints"
        for name in names:
            folder = fitting(folder / re.sub(r"[^A-Za-z0-9+.]+", "-", name))
        return folder

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All lines of `metrics.jsonl`, one per evaluation of a trial."""
        return [line for lines in self._lines.values() for line in lines]

    def log(
        self,
        probe: str,
        protocol: str,
        stage: str,
        stack: tuple[Trial, ...],
        history: History,
    ) -> None:
        """Writes the history of one stack of trials, in place of what was there of it.

        A run that was stopped and goes on has therefore no line twice, and none from
        steps that it takes again.

        Args:
            probe: Name of the probe.
            protocol: Name of the protocol.
            stage: Stage of the training, such as "search" or "repeat".
            stack: The trials.
            history: One entry per evaluation, as in `loop.Trained`.
        """
        self._lines[(probe, protocol, stage)] = [
            {
                "probe": probe,
                "protocol": protocol,
                "stage": stage,
                "seed": trial.seed,
                "learning_rate": trial.learning_rate,
                "epoch": entry["epoch"],
                "loss": finite(entry["loss"][k]),
                **(
                    {"validation": finite(entry["validation"][k])}
                    if "validation" in entry
                    else {}
                ),
            }
            for entry in history
            for k, trial in enumerate(stack)
        ]
        if distributed.is_writer():
            lines = (json.dumps(x, allow_nan=False) + "\n" for x in self.metrics)
            write_atomically(self._metrics, "".join(lines))

    def pin(
        self,
        name: str,
        ours: dict[str, Any],
        compared: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        """Writes `<name>.json`, or makes sure that an earlier run wrote the same.

        Args:
            name: The name of what is pinned.
            ours: The values of this run.
            compared: A function that returns the part of the values that must be equal.

        Raises:
            InputError: The folder holds a run with other values, or another process of
                this run has other values.
        """
        distributed.assert_same_on_all(f"the {name} of this run", ours)
        path = self.path / f"{name}.json"
        if distributed.is_writer():
            self._pin(path, name, ours, compared)
        distributed.wait_for_all("what the folder holds")
        distributed.retry_until_visible(path.stat)

    def _pin(
        self,
        path: pathlib.Path,
        name: str,
        ours: dict[str, Any],
        compared: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        if not path.exists():
            self._write_pinned(path, ours)
            return
        try:
            problem = f"{path}: not the {name} of a run"
            written = parse_object(path.read_bytes(), problem)
            theirs = compared(written)
        except DamagedFile as error:
            raise InputError(f"{error}; restore it, or use another --workdir") from None
        if differing := differences(theirs, compared(ours), name):
            raise InputError(
                f"{self.path} holds a run with another {name} "
                f"({'; '.join(differing)}); use another --workdir"
            )
        # The probes of the run find their data by the place that is written here.
        if moved := {
            k: ours[k] for k in WHERE if k in ours and written.get(k) != ours[k]
        }:
            self._write_pinned(path, written | moved)

    @staticmethod
    def _write_pinned(path: pathlib.Path, values: dict[str, Any]) -> None:
        text = json.dumps(values, indent=1, allow_nan=False)
        write_atomically(path, text + "\n")

    def _what_counts(self, values: dict[str, Any]) -> dict[str, Any]:
        """The part of the settings that must be those of the run, with their types."""
        check_settings(values, f"{self.path / 'config.json'}: config", needed=())
        return what_counts(values)

    def _read_metrics(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        """Reads `metrics.jsonl`; damaged lines are named and left out."""
        grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        if not self._metrics.exists():
            return grouped
        for number, text in enumerate(self._metrics.read_bytes().splitlines(), start=1):
            place = f"{self._metrics}, line {number}"
            try:
                line = parse_object(text, f"{place}: not an evaluation")
                as_dataclass(_Evaluation, line, place)
            except DamagedFile as error:
                _log.warning("%s: the plots lack it", error)
                continue
            key = (line["probe"], line["protocol"], line["stage"])
            grouped.setdefault(key, []).append(line)
        return grouped


def _folder(path: str | os.PathLike[str]) -> pathlib.Path:
    if "://" in os.fspath(path):
        raise InputError(
            f"--workdir={path}: a run writes to a folder: mount the bucket, or use a "
            "disk that all machines share"
        )
    folder = pathlib.Path(path).expanduser()
    if folder.is_file():
        raise InputError(f"{folder} is a file; --workdir must be a folder")
    return folder


@contextlib.contextmanager
def alone_in(path: str | os.PathLike[str]) -> Generator[None]:
    """Keeps other programs from training in the folder of a run at the same time.

    The processes of one program train in it together; the first one holds the lock. A
    folder that may not be written to needs none: its run is finished, and only shown.

    Args:
        path: The folder, which need not exist.

    Raises:
        InputError: Another program trains there, or the path is not a folder.
    """
    folder = _folder(path)

    def lock() -> None:
        if folder.is_dir() and not os.access(folder, os.W_OK):
            return
        doing = f"training in {folder}"
        try:
            stack.enter_context(locked(folder / LOCK, doing, patience=0.0))
        except OSError as error:
            raise InputError(describe_fault(error)) from error

    with contextlib.ExitStack() as stack:
        distributed.broadcast_from_writer(lock)
        yield


def differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str) -> list[str]:
    """Describes each difference as `key: there ..., here ...`.

    Args:
        theirs: The values that were written.
        ours: The values of this run.
        prefix: The name of the values, which begins every key.

    Returns:
        The first differences, and how many more there are.
    """
    found = list(_differing(theirs, ours, prefix))
    first = [
        f"{one_line(name, 60)}: there {bounds.shown(a, 60)}, here {bounds.shown(b, 60)}"
        for name, a, b in found[:_LISTED]
    ]
    more = len(found) - _LISTED
    return [*first, *([f"and {more} more"] if more > 0 else [])]


def _differing(
    theirs: dict[str, Any], ours: dict[str, Any], prefix: str
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(theirs.keys() | ours.keys()):
        a, b, name = theirs.get(key), ours.get(key), f"{prefix}.{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differing(a, b, name)
        elif a != b:
            yield name, a, b
