"""Records of finished trainings: one JSON file each, named by the hash of its key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from unmute_jax.io import write_atomically
from unmute_jax.results.places import without_places
from unmute_jax.results.record_check import (
    check_facts,
    check_settings,
    check_shares,
    check_trials,
)
from unmute_jax.results.typed_json import (
    NOT_STORED,
    DamagedFile,
    as_dataclass,
    read_object,
    stored_fields,
)

T = TypeVar("T")

# The fields that identify a record; its file is named by their hash.
KEY = ("experiment", "dataset", "encoder", "probe", "protocol", "seed")
# The fields that differ between two runs of the same experiment.
MEASURED = ("seconds", "token_checks")
# The name of the digest of all other fields in the file of a record.
DIGEST = "digest"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One final run: what was trained, on what, and its scores.

    A score is NaN where the training diverged; in the file it is null.

    Attributes:
        experiment: Digest of the settings.
        dataset: Name of the data set.
        source: The copy of the data set that was read.
        encoder: Description of the encoder and its weights.
        probe: Name of the probe.
        probe_options: Options of the probe that differ from its defaults.
        protocol: Name of the protocol: the splits to train, choose and test on.
        seed: Seed of the training.
        metric: "mAP", "accuracy" or "frame mAP"; all scores lie between 0 and 1.
        parameters: Number of trainable parameters.
        learning_rate: The rate that validation chose; None if nothing was trained.
        weight_decay: The weight decay that validation chose; 0 if nothing was trained.
        epoch: The epoch that is reported.
        validation: Score on the validation split.
        test: Score on the test split, computed once.
        per_class: Average precision per class; None for a class without positives.
        masked_classes: Number of classes without positives.
        search: Every trial that was compared: its hyper-parameters and its validation
            score; after a sweep its `SearchTrial.summary`. A trial that never left its
            start is marked by `never_started`.
        seconds: Time spent on all trainings of the probe on the protocol.
        settings: The settings of the experiment, without the places of files.
        facts: Other things that scores depend on: data, tokens, versions, devices.
        notes: Remarks for a reader of the scores.
        more: Other scores on the test split, by name.
        thresholds: Probability per class from which on `more` counts it as present.
        ranges: The lowest and the highest value that was searched, by hyper-parameter;
            empty if nothing was searched.
        chosen: Hyper-parameters that validation chose besides the learning rate and
            the weight decay, such as the neighbours of `knn`.
        steps: Optimiser steps of each training; 0 if nothing was trained or an older
            version wrote the record.
        positives: Number of test clips of each class; empty in older records.
        chance: Average precision of each class that a random order of the test split
            would have, which is the share of its positives; empty in older records.
        never_started: Whether the training never left its start: the score is that of
            chance.
        token_checks: By split, how it was checked that a custom encoder gives the
            tokens that were read; empty where the key of the tokens says it.
        num_layers: Number of layers of the encoder, where the probe reads others than
            the last; 0 where it does not, or an older version wrote the record.
        layer_weights: The learned weight of each layer; empty where none are learned.
        path: The file of the record, beside which the predictions of the run lie; None
            if it was neither read nor written. The file itself does not contain it.
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
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    chosen: dict[str, int | float] = field(default_factory=dict)
    steps: int = 0
    positives: dict[str, int] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    never_started: bool = False
    token_checks: dict[str, str] = field(default_factory=dict)
    num_layers: int = 0
    layer_weights: tuple[float, ...] = field(default=())
    path: pathlib.Path | None = field(
        default=None, compare=False, repr=False, metadata=NOT_STORED
    )

    def file_name(self) -> str:
        """The name of its file, `<hash of the key>.json`."""
        return record_name(**{k: getattr(self, k) for k in KEY})


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One trial of a search, which is compared on the validation split alone.

    Attributes:
        experiment: The digest of the experiment; the key fields are those of `Record`.
        number: Place of the trial in the search.
        proposed_by: "sobol" or "tpe".
        learning_rate: Learning rate at its peak.
        weight_decay: Weight decay.
        status: "finished"; "stopped", because others were better at the same epoch; or
            "diverged".
        epochs: Number of epochs that it was trained for.
        validation: The score that was compared; None if it diverged.
        scores: (epoch, validation score) of every evaluation.
        never_started: Whether the training never left its start.
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
    never_started: bool = False

    def file_name(self) -> str:
        """The name of its file, `<hash of the key and the number>.json`."""
        return record_name(**{k: getattr(self, k) for k in (*KEY, "number")})

    def summary(self) -> dict[str, Any]:
        """The part that `Record.search` holds."""
        names = ("learning_rate", "weight_decay", "validation", "epochs", "status")
        summary = {name: getattr(self, name) for name in names}
        return summary | ({"never_started": True} if self.never_started else {})


def record_name(**key: str | int) -> str:
    """The name of the file whose record has this key (all of `KEY`)."""
    canonical = json.dumps(key, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16] + ".json"


def write_record(folder: str | os.PathLike[str], record: Record) -> None:
    """Writes a record to its own file in `folder`, atomically."""
    _write(pathlib.Path(folder) / record.file_name(), record)


def write_search_trial(folder: str | os.PathLike[str], trial: SearchTrial) -> None:
    """Writes a trial of a search to its own file in `folder`, atomically."""
    _write(pathlib.Path(folder) / trial.file_name(), trial)


def read_record(path: str | os.PathLike[str]) -> Record:
    """Reads the record in one file.

    A field that an older version did not write takes its default. Paths that it wrote
    are left out (see `places`).

    Raises:
        DamagedFile: The file is no record, has a value of a wrong type, or was changed
            after it was written.
        InputError: A field is unknown, as a newer version may have written it.
    """
    record, where = _read(path, Record, "a result record"), os.fspath(path)
    check_settings(record.settings, f"{where}: settings")
    check_facts(record.facts, f"{where}: facts")
    check_trials(record.search, f"{where}: search")
    for name in ("validation", "test", "per_class", "more", "thresholds", "chance"):
        check_shares(getattr(record, name), f"{where}: {name}")
    return dataclasses.replace(
        record, settings=without_places(record.settings), path=pathlib.Path(path)
    )


def read_search_trial(path: str | os.PathLike[str]) -> SearchTrial:
    """Reads the trial of a search in one file.

    Raises:
        DamagedFile: As for `read_record`; or the file has the name of another trial.
        InputError: As for `read_record`.
    """
    trial = _read(path, SearchTrial, "a trial of a search")
    if trial.file_name() != pathlib.PurePath(path).name:
        raise DamagedFile(f"{os.fspath(path)}: is the record of another trial")
    return trial


def training_seconds(records: Iterable[Record]) -> float:
    """The time of the trainings behind records of one probe.

    The seeds of a protocol are trained in one stack, whose time each record holds.
    """
    return sum(seconds for _, seconds in {(r.protocol, r.seconds) for r in records})


def finite(x: float) -> float | None:
    """`x` as it is written to JSON, which has no NaN: None if it is not finite."""
    return float(x) if math.isfinite(x) else None


def without_nan(values: Any) -> Any:
    """Nested values as JSON can hold them: None where a number is not finite."""
    if isinstance(values, dict):
        return {key: without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_nan(value) for value in values]
    return finite(values) if isinstance(values, float) else values


def _write(path: pathlib.Path, record: Record | SearchTrial) -> None:
    values = without_nan(stored_fields(record))
    text = json.dumps({**values, DIGEST: _digest(values)}, indent=1, allow_nan=False)
    write_atomically(path, text + "\n")


def _read(path: str | os.PathLike[str], cls: type[T], what: str) -> T:
    values = read_object(path, what)
    digest = values.pop(DIGEST, None)  # Older versions did not write it.
    found = as_dataclass(cls, values, os.fspath(path))
    if digest is not None and digest != _digest(values):
        raise DamagedFile(f"{os.fspath(path)}: was changed after it was written")
    return found


def _digest(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
