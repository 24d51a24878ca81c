"""Damaged records and other files of runs for `fuzz`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from experiments.checks import mutated_json
from experiments.checks.fuzz_cases import Case, judge
from experiments.checks.mutations import mutate
from unmute_jax.config import Experiment
from unmute_jax.encoders import load_encoder
from unmute_jax.grid.folder import CellStatus, read_status
from unmute_jax.inference.recordings.partial_results import PartialResults, pin_settings
from unmute_jax.inference.recordings.windows import RecordingFile
from unmute_jax.report import classes, comparisons, rates, records, scores, write_report
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.missing import find_missing
from unmute_jax.report.resampling import Resampler
from unmute_jax.results import table
from unmute_jax.results.predictions import read_predictions, write_predictions
from unmute_jax.results.record import (
    DIGEST,
    Record,
    SearchTrial,
    read_record,
    read_search_trial,
    write_record,
    write_search_trial,
)
from unmute_jax.store.key import as_json
from unmute_jax.training.workdir import Workdir

_CLASSES = ("ash", "birch", "cedar")
_CLIPS = 12
_SETTINGS = Experiment(seeds=2, epochs=3)
_SOURCES = {"encoder": "logmel", "fingerprints": {"train": "sha256:0", "test": "1"}}
_PREDICTING = {"probe": "protobin", "window": 10.0, "hop": None}
_WINDOWS = (
    {"start": 0.0, "end": 1.0, "scores": [0.1, 0.5, 0.9], "bands": [[0, 1]] * 3},
    {"start": 1.0, "end": 2.0, "scores": [0.2, 0.5, 1.0], "bands": [[0, 2]] * 3},
    {"seconds": 2.0, "above": 0.1, "cancels": False},
)
_RECORDING, _CELL = "recording.wav", "cells/logmel-tones-linear"
# Share of the damaged records of which a whole report is made, which takes long.
_REPORTED = 0.04


@functools.cache
def originals() -> dict[str, bytes]:
    """Returns the files of a run before they are damaged, by their names."""
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside)
        workdir = Workdir(folder, _SETTINGS)
        workdir.pin("sources", _SOURCES)
        rng = np.random.default_rng(0)
        for seed in (0, 1):
            record = _record(seed)
            write_record(workdir.results, record)
            labels = rng.random((_CLIPS, len(_CLASSES))) < 0.5
            logits = rng.standard_normal(labels.shape).astype(np.float32)
            ids = [f"clip {i}" for i in range(_CLIPS)]
            groups = {clip: f"site {i // 2}" for i, clip in enumerate(ids)}
            file = record.file_name()
            write_predictions(
                workdir.predictions, file, ids, groups, labels.astype(np.uint8), logits
            )
        for number in (0, 1):
            write_search_trial(workdir.trials, _trial(number))
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    line = {"probe": "linear", "protocol": "official split", "stage": "search"}
    line |= {"seed": 0, "learning_rate": 0.1, "epoch": 1, "loss": 0.5}
    lines = [{**line, "epoch": e, "validation": e / 10} for e in (1, 2, 3)]
    about = {"recording": _RECORDING, "bytes": 3, "modified_ns": 10**18}
    return {
        **files,
        "metrics.jsonl": _lines(lines),
        f"{_CELL}/status.json": json.dumps(vars(CellStatus(state="done"))).encode(),
        "predict/settings.json": json.dumps(_PREDICTING).encode(),
        "predict/windows.jsonl": _lines([about, *_WINDOWS]),
        f"predict/{_RECORDING}": b"RIF",
    }


def _lines(values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _record(seed: int) -> Record:
    return Record(
        experiment="e",
        dataset="tones",
        source="made up",
        encoder="log-mel",
        probe="linear",
        probe_options={"input": "mean"},
        protocol="official split",
        seed=seed,
        metric="mAP",
        parameters=12,
        learning_rate=0.1,
        weight_decay=0.0,
        epoch=3,
        validation=0.5,
        test=0.5 + seed / 10,
        per_class={"ash": 0.4, "birch": 0.6, "cedar": None},
        masked_classes=1,
        search=tuple(_trial(number).summary() for number in (0, 1)),
        seconds=2.0,
        settings=_SETTINGS.to_dict(),
        facts={
            "encoder": as_json(load_encoder("logmel").identity()),
            "splits": {"train": ["train"], "validation": ["validation"]},
            "clips": {"train": 30, "validation": 21, "test": _CLIPS},
            "fingerprints": {"train": "sha256:0"},
            "devices": "1 CPU",
            "versions": {"jax": "0.7.0"},
        },
        notes=("a remark",),
        ranges={"learning_rate": (1e-5, 0.3)},
        positives={"ash": 3, "birch": 4, "cedar": 0},
        chance={"ash": 0.25, "birch": 0.33, "cedar": 0.0},
        steps=300,
    )


def _trial(number: int) -> SearchTrial:
    return SearchTrial(
        experiment="e",
        dataset="tones",
        encoder="log-mel",
        probe="linear",
        protocol="official split",
        seed=0,
        number=number,
        proposed_by="sobol",
        learning_rate=10.0**-number,
        weight_decay=0.0,
        status="finished",
        epochs=3,
        validation=0.5,
        scores=((1, 0.1), (3, 0.5)),
    )


def prepare() -> None:
    """Reads the undamaged files."""
    for kind in _READERS:
        _meaning(kind)


def make(rng: np.random.Generator) -> Case:
    """Makes a run with a damaged file.

    Args:
        rng: The source of all choices.
    """
    files = dict(originals())
    kind = str(rng.choice(list(_FILES)))
    name = next(name for name in files if name.startswith(_FILES[kind]))
    # Only these files have a digest, or checksums of their parts.
    is_protected = kind in ("record", "trial", "predictions")
    is_sealed = rng.random() < 0.6
    if rng.random() < 0.4:
        others = [files[name], *files.values()]
        mutation, files[name] = mutate([x for x in others if x], 0, rng)
        is_sealed = False
    elif kind in ("trial", "predictions") and rng.random() < 0.2:
        folder = _FILES[kind]
        files[name] = next(
            content
            for other, content in files.items()
            if other.startswith(folder) and other != name
        )
        mutation, is_sealed = "the file of another training", False
    elif kind == "predictions":
        mutation, files[name] = _other_arrays(files[name], rng)
        is_sealed = True
    elif name.endswith(".jsonl"):
        lines = files[name].splitlines(keepends=True)
        at = int(rng.integers(len(lines)))
        mutation, value = mutated_json.change(json.loads(lines[at]), rng)
        lines[at] = mutated_json.encode(value) + b"\n"
        files[name] = b"".join(lines)
    else:
        mutation, value = mutated_json.change(json.loads(files[name]), rng)
        if is_protected and is_sealed:
            mutation += ", digest anew"
            value = _sealed(value)
        files[name] = mutated_json.encode(value)
    if kind == "record" and rng.random() < _REPORTED:
        kind = "report"
    may_differ = is_sealed or not is_protected
    return Case(kind=kind, mutation=mutation, files=files, may_differ=may_differ)


def _sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with a digest that fits, as records have it."""
    others = {k: v for k, v in values.items() if k != DIGEST}
    text = mutated_json.encode(dict(sorted(others.items())))
    # Numbers and nested names are written as Python does after reading them.
    try:
        text = json.dumps(json.loads(text), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return others
    return {**others, DIGEST: f"sha256:{hashlib.sha256(text).hexdigest()}"}


def _other_arrays(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes the arrays of a file of predictions, which remains a valid npz."""
    with np.load(io.BytesIO(data)) as arrays:
        found = dict(arrays)
    name = str(rng.choice([n for n, x in found.items() if x.ndim]))
    x = found[name]
    changes: dict[str, Callable[[], Any]] = {
        "an array left out": lambda: None,
        "an array of objects": lambda: x.astype(object),
        "an array of another type": lambda: x.view(np.uint8),
        "an array cut": lambda: x[:-1],
        "an array without rows": lambda: x[:0],
        "an array of another shape": lambda: x[None],
        "an array repeated": lambda: np.concatenate([x, x]),
        "an array of NaN": lambda: np.full(x.shape, np.nan, np.float32),
        "the rows of an array in another order": lambda: x[::-1],
        "odd names": lambda: np.asarray([b"\xff\x1b\n<b>"] * len(x)),
    }
    mutation = str(rng.choice(list(changes)))
    found[name] = changes[mutation]()
    buffer = io.BytesIO()
    kept: dict[str, Any] = {k: v for k, v in found.items() if v is not None}
    np.savez_compressed(buffer, allow_pickle=True, **kept)
    return mutation, buffer.getvalue()


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Reads the damaged file of a run.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: See `judge`.
    """
    read = functools.partial(_READERS[kind], folder)
    return judge(folder, read, _meaning(kind), may_differ)


@functools.cache
def _meaning(kind: str) -> Any:
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "folder")
        Case(kind=kind, mutation="none", files=originals()).write(folder)
        return _READERS[kind](folder)


def _file(folder: pathlib.Path, kind: str) -> pathlib.Path:
    return folder / next(n for n in originals() if n.startswith(_FILES[kind]))


def _read_record(folder: pathlib.Path) -> Any:
    """What a resumed run and the tables of a report read."""
    record = read_record(_file(folder, "record"))
    shown = io.StringIO()
    Console(file=shown, width=200).print(table([record], [record.probe]))
    return {"record": vars(record), "table": shown.getvalue(), **_tables(folder)}


def _tables(folder: pathlib.Path) -> dict[str, Any]:
    files = find_records([folder])
    grid = make_grid(files, find_missing([folder]))
    with tempfile.TemporaryDirectory() as cache:
        resampler = Resampler(pathlib.Path(cache))
        resampler.prepare(grid.cells)
        found = {
            "scores": scores.as_csv(grid, resampler),
            "comparisons": comparisons.as_csv(comparisons.compare(grid, resampler)),
            "records": records.as_csv(grid),
            "trials": rates.as_csv(grid),
            "classes": classes.as_csv(grid),
            "histories": [file.histories for file in files],
        }
    return found


def _read_report(folder: pathlib.Path) -> Any:
    with tempfile.TemporaryDirectory() as output:
        said = write_report([folder], output)
        text = (pathlib.Path(output) / "report.md").read_text("utf-8")
    return {"record": vars(read_record(_file(folder, "record"))), "text": [said, text]}


def _read_trial(folder: pathlib.Path) -> Any:
    found = read_search_trial(_file(folder, "trial"))
    return {"trial": vars(found), **_tables(folder)}


def _read_predictions(folder: pathlib.Path) -> Any:
    found = read_predictions(_file(folder, "predictions"))
    return {"predictions": vars(found), **_tables(folder)}


def _read_workdir(folder: pathlib.Path) -> Any:
    workdir = Workdir(folder, _SETTINGS)
    workdir.pin("sources", _SOURCES)
    missing = [dataclasses.asdict(m) for m in find_missing([folder])]
    return {"metrics": workdir.metrics, "missing": missing}


def _read_status(folder: pathlib.Path) -> Any:
    return {"status": vars(read_status(folder / _CELL))}


def _read_settings(folder: pathlib.Path) -> Any:
    pin_settings(folder / "predict", _PREDICTING)
    return {}


def _read_windows(folder: pathlib.Path) -> Any:
    path = folder / "predict" / _RECORDING
    os.utime(path, ns=(10**18, 10**18))
    recording = RecordingFile(path=path, name=_RECORDING)
    found = PartialResults(recording, folder / "predict" / "windows.jsonl")
    end = None if found.end is None else vars(found.end)
    return {"windows": [vars(w) for w in found.windows], "end": end}


# How the name of a file of each kind begins.
_FILES = {
    "record": "results/",
    "trial": "trials/",
    "predictions": "predictions/",
    "config": "config.json",
    "sources": "sources.json",
    "metrics": "metrics.jsonl",
    "status of a cell": f"{_CELL}/",
    "settings of predictions": "predict/settings.json",
    "windows": "predict/windows.jsonl",
}
_READERS: dict[str, Callable[[pathlib.Path], Any]] = {
    "record": _read_record,
    "report": _read_report,
    "trial": _read_trial,
    "predictions": _read_predictions,
    "config": _read_workdir,
    "sources": _read_workdir,
    "metrics": _read_workdir,
    "status of a cell": _read_status,
    "settings of predictions": _read_settings,
    "windows": _read_windows,
}
