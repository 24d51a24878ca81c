"""One record per finished trial; tables are views of those records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from dataclasses import dataclass, field
from typing import Any

from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically

# What names a trial; the file of its record is called after their hash.
KEY = ("experiment", "dataset", "encoder", "probe", "protocol", "seed")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one trial was and what it gave.

    Attributes:
        experiment: Digest of the configuration.
        dataset: Its name; `source` says which copy.
        encoder: Description of encoder and weights.
        probe: Its name; `parameters` counts its trainable numbers.
        probe_options: Those that are not its defaults.
        protocol: Which splits trained, chose and tested.
        metric: "mAP", "accuracy" or "frame mAP"; all scores are shares of 1.
        learning_rate: Chosen on the validation split, like `epoch`; None and 0 where
            nothing was trained.
        validation: The score that was compared.
        test: The score of this trial on the test split, computed once.
        per_class: Average precision per class; None without positives.
        search: Every trial that was compared: its rates and its validation score, and
            after a sweep the epochs it had and its status (see `SearchTrial`).
        seconds: Training of the whole stack that this trial was part of.
        settings: The configuration.
        facts: Whatever else the numbers depend on (data, tokens, versions, device).
        notes: What a reader of the table should know.
        more: Other scores on the test split, by name.
        thresholds: Per class, from which probability on `more` counts it as there.
    """

    experiment: str
    dataset: str
    source: str
    encoder: str
    probe: str
    probe_options: dict[str, Any]
    protocol: str
    seed: int
    metric: str
    parameters: int
    learning_rate: float | None
    weight_decay: float
    epoch: int
    validation: float
    test: float
    per_class: dict[str, float | None]
    masked_classes: int
    search: tuple[dict[str, Any], ...]
    seconds: float
    settings: dict[str, Any]
    facts: dict[str, Any]
    notes: tuple[str, ...] = field(default=())
    more: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    def file_name(self) -> str:
        """`<hash of the key>.json`."""
        return record_name(**{k: getattr(self, k) for k in KEY})


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One training of a search, which is compared on the validation split alone.

    Attributes:
        experiment: As of `Record`, like all of the key.
        number: Its place in the search.
        proposed_by: "sobol" or "tpe".
        status: "finished"; "stopped", because others were better at the same epoch;
            "diverged".
        epochs: It was trained for.
        validation: The score that was compared; None where it diverged.
        scores: (epoch, validation score) whenever it was looked at.
    """

    experiment: str
    dataset: str
    encoder: str
    probe: str
    protocol: str
    seed: int
    number: int
    proposed_by: str
    learning_rate: float
    weight_decay: float
    status: str
    epochs: int
    validation: float | None
    scores: tuple[tuple[int, float | None], ...]

    def file_name(self) -> str:
        """`<hash of the key and the number>.json`."""
        return record_name(**{k: getattr(self, k) for k in (*KEY, "number")})

    def summary(self) -> dict[str, Any]:
        """What a `Record` keeps of it."""
        names = ("learning_rate", "weight_decay", "validation", "epochs", "status")
        return {name: getattr(self, name) for name in names}


def write_search_trial(folder: str | os.PathLike[str], trial: SearchTrial) -> None:
    """Writes `trial` to its own file in `folder`, whole or not at all."""
    text = json.dumps(dataclasses.asdict(trial), indent=1)
    write_atomically(pathlib.Path(folder) / trial.file_name(), text + "\n")


def read_search_trial(path: str | os.PathLike[str]) -> SearchTrial:
    """The trial in one file."""
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        values["scores"] = tuple((int(e), s) for e, s in values["scores"])
        return SearchTrial(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a trial of a search ({error})") from error


def record_name(**key: str | int) -> str:
    """The file name of the record with this key (all of `KEY`)."""
    canonical = json.dumps(key, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16] + ".json"


def write_record(folder: str | os.PathLike[str], record: Record) -> None:
    """Writes `record` to its own file in `folder`, whole or not at all."""
    text = json.dumps(dataclasses.asdict(record), indent=1)
    write_atomically(pathlib.Path(folder) / record.file_name(), text + "\n")


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record in one file."""
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        values["search"] = tuple(values["search"])
        values["notes"] = tuple(values["notes"])
        return Record(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a result record ({error})") from error


def read_records(folder: str | os.PathLike[str]) -> list[Record]:
    """All records in `folder`, in the order of their keys."""
    found = [read_record(p) for p in sorted(pathlib.Path(folder).glob("*.json"))]
    return sorted(found, key=lambda r: tuple(str(getattr(r, k)) for k in KEY))
