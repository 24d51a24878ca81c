"""The folder of one run: configuration, metrics, checkpoints, results, plots."""

from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

from unmute_jax import distributed
from unmute_jax.config import WHERE, Experiment
from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically
from unmute_jax.results.record import finite
from unmute_jax.training.checkpoints import History
from unmute_jax.training.step import Trial


class Workdir:
    """Everything written under one folder; a rerun goes on from what is there."""

    def __init__(self, path: str | os.PathLike[str], settings: Experiment):
        """Begins or reopens the run `settings` in `path`.

        Raises:
            InputError: the folder holds a run with another configuration.
        """
        if "://" in os.fspath(path):
            raise InputError(
                f"--workdir={path}: a run writes to a folder: mount the bucket, or "
                "name a disk that all machines share"
            )
        self.path = pathlib.Path(path).expanduser()
        self.results = self.results_of(self.path)
        self.trials = self.path / "trials"
        self.plots = self.path / "plots"
        self.probes = self.path / "probes"
        self.predictions = self.path / "predictions"
        self._metrics = self.path / "metrics.jsonl"
        if self.path.is_file():
            raise InputError(f"{self.path}: is a file; --workdir must be a folder")
        self.pin("config", settings.to_dict())
        self._lines = self._read_metrics()

    @staticmethod
    def results_of(path: str | os.PathLike[str]) -> pathlib.Path:
        """Where the records of the run in `path` are."""
        return pathlib.Path(path).expanduser() / "results"

    def checkpoints(self, *names: str) -> pathlib.Path:
        """The folder for the checkpoints of one stack of trials."""
        plain = (re.sub(r"[^A-Za-z0-9+.]+", "-", name) for name in names)
        return self.path.joinpath("checkpoints", *plain)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All lines of `metrics.jsonl`."""
        return [line for lines in self._lines.values() for line in lines]

    def log(
        self,
        probe: str,
        protocol: str,
        stage: str,
        stack: tuple[Trial, ...],
        history: History,
    ) -> None:
        """Writes the history of one stack, in place of what it wrote before.

        A run that was stopped and goes on has thus no line twice, and none of the
        steps that it took again.
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
            write_atomically(
                self._metrics, "".join(json.dumps(x) + "\n" for x in self.metrics)
            )

    def pin(self, name: str, ours: dict[str, Any]) -> None:
        """Writes `<name>.json`, or makes sure that what was written is the same.

        Raises:
            InputError: it is not: what the folder holds came from something else; or
                another process of this run has something else.
        """
        distributed.assert_same_on_all(f"the {name} of this run", ours)
        path = self.path / f"{name}.json"
        if distributed.is_writer():
            self._pin(path, name, ours)
        distributed.wait_for_all("what the folder holds")
        distributed.retry_until_visible(path.stat)

    def _pin(self, path: pathlib.Path, name: str, ours: dict[str, Any]) -> None:
        if not path.exists():
            write_atomically(path, json.dumps(ours, indent=1) + "\n")
            return
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path}: is not readable ({error}); use another --workdir"
            ) from error
        if differing := differences(theirs, ours, name):
            raise InputError(
                f"{self.path}: holds a run with another {name} "
                f"({'; '.join(differing)}); use another --workdir"
            )

    def _read_metrics(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        if self._metrics.exists():
            for text in self._metrics.read_text(encoding="utf-8").splitlines():
                line = json.loads(text)
                key = (line["probe"], line["protocol"], line["stage"])
                grouped.setdefault(key, []).append(line)
        return grouped


def differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str) -> list[str]:
    """`key: there ..., here ...` for all that differs, but for where it runs."""
    found, elsewhere = [], {f"config.{key}" for key in WHERE}
    for key in sorted(theirs.keys() | ours.keys()):
        a, b, name = theirs.get(key), ours.get(key), f"{prefix}.{key}"
        if name in elsewhere or a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, name)
        else:
            found.append(f"{name}: there {a!r}, here {b!r}")
    return found
