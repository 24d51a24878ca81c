"""Writes the scores of a report in the format of the results repository of mteb.

The benchmarks of mteb, MAEB for audio among them, collect results in one repository
(https://github.com/embeddings-benchmark/results): a JSON file per task in a folder per
revision of a model, with the model's description beside it. Other settings than those
of the benchmark are "experiments" there. They have folders of their own and are left
out of its leaderboards. All results here are experiments: a probe that reads all patch
tokens and is trained on all training clips follows another protocol than the logistic
regression that MAEB fits to one vector of each of a few clips.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmute_jax.io import write_atomically
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.names import slug
from unmute_jax.report.result_grid import ResultCell
from unmute_jax.report.tables import counted
from unmute_jax.results.record import Record, training_seconds, without_nan

# Stands before the names of models, and of tasks that MAEB does not have.
PREFIX = "unmute-jax"
# The value of "protocol" in the settings of all experiments.
PROTOCOL = "unmute-jax probe"
# What mteb calls the revision of a model without one.
NO_REVISION = "no_revision_available"
# The language of clips (ISO 639-3 and 15924) that nobody has stated.
UNKNOWN_LANGUAGE = "und-Zyyy"
# The longest name of an experiment's folder before mteb replaces it by a digest, and
# the characters that mteb replaces.
_LONGEST_NAME = 200
_UNSAFE = str.maketrans(dict.fromkeys('<>:"|?*\\/\0', "_"))


@dataclass(frozen=True)
class Task:
    """A task of MAEB whose test clips and main score a data set here has, too.

    Attributes:
        name: The name of the task.
        split: The split that its scores stand under.
        metric: Its main score.
        clips: The number of clips that are tested.
        language: The language of the clips.
    """

    name: str
    split: str
    metric: str
    clips: int
    language: str


# MAEB's other tasks with similar names differ: FSD50K, AudioSetMini and BirdSet are
# samples scored by label ranking, SpeechCommands is a smaller copy, and UrbanSound8k is
# not URBAN-SED.
TASKS = {
    # Both test all clips once, though in other folds.
    "esc50": Task("ESC50", "train", "accuracy", 2000, "zxx-Zxxx"),
    "fsdd": Task("FSDD", "test", "accuracy", 300, "eng-Latn"),
}


def export_results(
    runs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> str:
    """Writes the results of all records below some folders in the format of mteb.

    Args:
        runs: Folders of runs, or folders that contain them at any depth.
        output: The folder to write to. It will contain
            `results/MODEL/REVISION/experiments/EXPERIMENT/TASK.json`, with a
            `model_meta.json` beside the tasks of an experiment. Files of earlier
            results stay.

    Returns:
        A sentence that counts what was written.

    Raises:
        InputError: There are no records, or they cannot be combined.
    """
    grid = make_grid(find_records([pathlib.Path(r).expanduser() for r in runs]))
    folder = pathlib.Path(output).expanduser()
    known = [cell for cell in grid.cells if not cell.has_diverged]
    for cell in known:
        name, meta = _task_name(cell), _model_meta(cell)
        place = folder / "results" / _folder(meta)
        _write(place / "model_meta.json", meta)
        _write(place / f"{name}.json", _task_result(cell, name))
    skipped = len(grid.cells) - len(known)
    note = f", without {skipped} in which a seed diverged" if skipped else ""
    return f"results of {counted(len(known), 'cell')} for mteb{note}"


def _task_name(cell: ResultCell) -> str:
    """The name of MAEB's task, or one that cannot be mistaken for such a name."""
    task = _official(cell)
    return task.name if task else f"{PREFIX}-{slug(cell.dataset)}"


def _official(cell: ResultCell) -> Task | None:
    """The task of MAEB with the test clips and the main score of a cell."""
    task, record = TASKS.get(cell.first.dataset), cell.first
    if task is None or task.metric != record.metric:
        return None
    # Where a report has several copies of a data set, only their titles differ.
    is_only = cell.dataset == record.dataset
    return task if is_only and _test_clips(cell) == task.clips else None


def _test_clips(cell: ResultCell) -> int:
    """The number of test clips of all folds; 0 if an older record does not say it."""
    folds = {file.record.protocol: file.record for file in cell.files}
    return sum(map(_test_clips_of, folds.values()))


def _test_clips_of(record: Record) -> int:
    clips: dict[str, int] = record.facts.get("clips", {})
    tested = record.facts.get("splits", {}).get("test", ["test"])
    return sum(clips.get(split, 0) for split in tested)


def _task_result(cell: ResultCell, name: str) -> dict[str, Any]:
    """The content of a task's file, as `mteb.TaskResult` reads it.

    The main score is the mean over folds and seeds; `scores_per_experiment` has each.
    """
    first, task = cell.first, _official(cell)
    language = task.language if task else UNKNOWN_LANGUAGE
    scores: dict[str, Any] = {**_means(cell), "main_score": cell.mean / 100}
    if len(cell.seeds) > 1:
        scores["sd_over_seeds"] = cell.sd / 100
    scores["scores_per_experiment"] = [
        {**_scores(f.record), "seed": f.record.seed, "protocol": f.record.protocol}
        for f in cell.files
    ]
    scores |= {"hf_subset": "default", "languages": [language]}
    return {
        "dataset_revision": f"{PREFIX}: {first.source}",
        "task_name": name,
        # These scores were not computed by mteb.
        "mteb_version": None,
        "scores": {task.split if task else "test": [scores]},
        "evaluation_time": training_seconds(f.record for f in cell.files),
        "kg_co2_emissions": None,
    }


def _means(cell: ResultCell) -> dict[str, float]:
    """The means over records of all scores; NaN where one is not known."""
    each = [_scores(f.record) for f in cell.files]
    return {
        name: float(np.mean([s.get(name, np.nan) for s in each])) for name in each[0]
    }


def _scores(record: Record) -> dict[str, float]:
    """The scores of a record by names such as `accuracy`, `map` and `frame_map`."""
    named = {record.metric: record.test, **record.more}
    return {slug(name).replace("-", "_"): score for name, score in named.items()}


def _model_meta(cell: ResultCell) -> dict[str, Any]:
    """The description of the encoder and the experiment, as `mteb.ModelMeta` reads it.

    What records do not know is null.
    """
    first = cell.first
    encoder = first.facts.get("encoder", {})
    weights = str(encoder.get("weights", "none")).removeprefix("sha256:")
    unknown = (
        *("loader", "release_date", "languages", "n_parameters", "memory_usage_mb"),
        *("max_tokens", "embed_dim", "license", "open_weights", "public_training_code"),
        *("public_training_data", "similarity_fn_name", "use_instructions"),
        "training_datasets",
    )
    settings = {"encoder": first.encoder, "probe": cell.probe, "protocol": PROTOCOL}
    if cell.training:
        settings["training"] = cell.training
    return {
        "name": f"{PREFIX}/{slug(str(encoder.get('name', first.encoder)))}",
        "revision": NO_REVISION if weights == "none" else slug(weights),
        **dict.fromkeys(unknown),
        "framework": [],
        "modalities": ["audio"],
        "experiment_kwargs": settings,
    }


def _folder(meta: dict[str, Any]) -> pathlib.Path:
    """The folder of an experiment, below that of all results."""
    settings: dict[str, str] = meta["experiment_kwargs"]
    # The same name as `mteb.ModelMeta.experiment_name`.
    name = "__".join(f"{k}_{v.translate(_UNSAFE)}" for k, v in sorted(settings.items()))
    if len(name) > _LONGEST_NAME:
        name = f"exp_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    model = meta["name"].replace("/", "__")
    return pathlib.Path(model) / meta["revision"] / "experiments" / name


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(without_nan(content), indent=2) + "\n")
