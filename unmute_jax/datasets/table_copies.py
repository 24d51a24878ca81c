"""Copies of published data sets in tables of Hugging Face, as their builders read them.

Each function looks for a copy in a folder and returns its rows under the names of the
published files, or None if the folder has no tables. A copy that lacks what the data
set needs is refused with the reason.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import io
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.datasets.presented import Presented, TableCopy, table_copy
from unmute_jax.errors import InputError, one_line

_VALIDATION = ("validation", "valid", "val", "dev")
_TEST = ("test", "eval", "evaluation")
_ESC50_COLUMNS = ("filename", "fold", "target", "category")
_ESC50_NAME = re.compile(r"([1-5])-\d+-[A-Z]-(\d+)\.wav")
_WORDS_OF_TEST = ("_silence_", "_unknown_")
# What BirdSet says about its training recordings.
_FOCAL_COLUMNS = (
    "ebird_code",
    "ebird_code_secondary",
    "length",
    "detected_events",
    "event_cluster",
)


# ESC-50


def esc50_copy(place: pathlib.Path, classes: Sequence[str]) -> Presented | None:
    """Returns ESC-50 as `meta/esc50.csv` and `audio/`; the copy may have any splits.

    Columns that are missing are read from the names of the files.

    Args:
        place: The folder.
        classes: Names of the classes.
    """
    copy = table_copy(place, "ESC-50")
    if copy is None:
        return None
    name = copy.name_column("filename")
    there = [column for column in _ESC50_COLUMNS[1:] if copy.has(column)]
    columns = [name, *there]
    rows = [row for split in copy.splits for row in copy.rows(split, columns)]
    lines = [_esc50_line(copy, row, name, there, classes) for row in rows]
    names = {
        f"audio/{line[0]}": row["name"] for line, row in zip(lines, rows, strict=True)
    }
    table = _csv(_ESC50_COLUMNS, lines)
    return Presented(copy.files, names, {"meta/esc50.csv": table})


def _esc50_line(
    copy: TableCopy,
    row: Mapping[str, Any],
    name: str,
    there: Sequence[str],
    classes: Sequence[str],
) -> list[Any]:
    file = pathlib.PurePosixPath(str(row[name])).name
    values: dict[str, Any] = {"filename": file}
    if match := _ESC50_NAME.fullmatch(file):
        fold, target = match.groups()
        category = dict(enumerate(classes)).get(int(target), "")
        values |= {"fold": fold, "target": target, "category": category}
    values |= {column: row[column] for column in there}
    for column in _ESC50_COLUMNS[1:]:
        if column not in values:
            copy.column(column)
    return [values[column] for column in _ESC50_COLUMNS]


# FSD50K


@functools.cache
def fsd50k_vocabulary() -> dict[str, str]:
    """Returns the identifier of each class of FSD50K by its name, in official order."""
    folder = importlib.resources.files("unmute_jax") / "assets" / "fsd50k"
    lines = (folder / "vocabulary.csv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["label"]: row["mid"] for row in rows}


def fsd50k_copy(place: pathlib.Path) -> Presented | None:
    """Returns FSD50K in its official folders.

    Labels may be names, names with blanks, identifiers, or lists of them in a text.
    """
    copy = table_copy(place, "FSD50K")
    if copy is None:
        return None
    name = copy.name_column("fname", "filename", "file", "id")
    label = copy.column("labels", "label", "classes", "mids")
    test = copy.split(*_TEST)
    parts = _parts_of_dev(copy)
    dev: list[tuple[str, str, str]] = []
    names: dict[str, str] = {}
    for split, part in parts.items():
        more = ["split"] if part == "" else []
        for row in copy.rows(split, [name, label, *more]):
            clip = _stem(row[name])
            dev.append((clip, _fsd50k_labels(copy, row, label), part or row["split"]))
            names[f"FSD50K.dev_audio/{clip}.wav"] = row["name"]
    evaluation: list[tuple[str, str]] = []
    for row in copy.rows(test, [name, label]):
        clip = _stem(row[name])
        evaluation.append((clip, _fsd50k_labels(copy, row, label)))
        names[f"FSD50K.eval_audio/{clip}.wav"] = row["name"]
    vocabulary = enumerate(fsd50k_vocabulary().items())
    folder = "FSD50K.ground_truth"
    made = {
        f"{folder}/dev.csv": _csv(("fname", "labels", "split"), dev),
        f"{folder}/eval.csv": _csv(("fname", "labels"), evaluation),
        f"{folder}/vocabulary.csv": _csv(None, ((i, n, m) for i, (n, m) in vocabulary)),
    }
    return Presented(copy.files, names, made)


def _parts_of_dev(copy: TableCopy) -> dict[str, str]:
    """Returns "train" or "val" for the splits of dev, or "" if their rows say it."""
    if copy.has("split"):
        return {copy.split("train", "dev"): ""}
    train = copy.split("train")
    validation = [split for split in _VALIDATION if split in copy.splits]
    if not validation:
        raise copy.refusal(
            f"its split {train} does not say which clips are for validation"
        )
    return {train: "train", validation[0]: "val"}


def _fsd50k_labels(copy: TableCopy, row: Mapping[str, Any], label: str) -> str:
    value = row[label]
    texts = value.replace(";", ",").split(",") if isinstance(value, str) else value
    known = fsd50k_vocabulary()
    by_any_name = {mid: name for name, mid in known.items()}
    by_any_name |= {name: name for name in known}
    by_any_name |= {name.replace("_", " "): name for name in known}
    labels: list[str] = []
    for text in texts if isinstance(texts, list) else [texts]:
        name = by_any_name.get(text.strip()) if isinstance(text, str) else None
        if name is None:
            raise InputError(
                f"{copy.files.where(row['name'])}: its label "
                f"{one_line(repr(text), 80)} is no class of FSD50K"
            )
        labels.append(name)
    return ",".join(labels)


# Speech Commands


def speech_commands_copy(
    place: pathlib.Path, test_folder: str = ""
) -> Presented | None:
    """Returns the words of Speech Commands v0.02 with the lists of their splits.

    Args:
        place: The folder.
        test_folder: Folder for the test split of the twelve-class task. Without one,
            the test split must be that of the 35 words.
    """
    copy = table_copy(place, "Speech Commands v0.02", ("v0.02", "v2"))
    if copy is None:
        return None
    column = copy.column("file", "filename", "path")
    names: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for role, split in {
        "training": copy.split("train"),
        "validation": copy.split(*_VALIDATION),
        "testing": copy.split(*_TEST),
    }.items():
        rows = copy.rows(split, [column])
        files = {_last_two(str(row[column])): row["name"] for row in rows}
        if role == "testing":
            is_twelve = any(file.split("/")[0] in _WORDS_OF_TEST for file in files)
            if not is_twelve and test_folder:
                raise copy.refusal("its test split is not that of the twelve classes")
            if is_twelve and not test_folder:
                raise copy.refusal(
                    f"its test split has {len(files):,} clips of the twelve-class task "
                    "and not those of the 35 words; sc2/twelve reads it"
                )
            if is_twelve:
                names |= {f"{test_folder}/{f}": row for f, row in files.items()}
                files = {}
        names |= files
        lists[role] = sorted(files)
    made = {
        f"{role}_list.txt": "\n".join(lists[role]).encode()
        for role in ("validation", "testing")
    }
    return Presented(copy.files, names, made)


def _last_two(path: str) -> str:
    return "/".join(pathlib.PurePosixPath(path).parts[-2:])


# BirdSet


def birdset_copy(
    place: pathlib.Path, subset: str, classes: Sequence[str]
) -> Presented | None:
    """Returns a subset of BirdSet as its tables and its Ogg files.

    Args:
        place: The folder.
        subset: Name of the subset in capitals.
        classes: Its classes; those that the copy declares must be the same.
    """
    if any(place.expanduser().rglob("*_metadata_train.parquet")):
        return None  # The tables of BirdSet itself, which hold no audio.
    copy = table_copy(place, f"BirdSet {subset}", (subset,))
    if copy is None:
        return None
    several = copy.column("ebird_code_multilabel")
    declared = [name for name in copy.names_of(several) if name != "no_call"]
    if declared and sorted(declared) != sorted(classes):
        raise copy.refusal(
            f"it has the {len(declared)} classes {', '.join(declared[:3])}, ..., not "
            f"the {len(classes)} of {subset}"
        )
    path = copy.name_column("filepath", "file", "path")
    copy.column("ebird_code")
    names: dict[str, str] = {}
    made: dict[str, bytes] = {}
    for split, more in (("train", _FOCAL_COLUMNS), ("test_5s", ())):
        there = [column for column in more if copy.has(column)]
        rows = copy.rows(copy.split(split), [path, several, *there])
        for row in rows:
            file = f"{_stem(row.pop(path))}.ogg"
            names[file] = row.pop("name")
            row["filepath"] = file
            row[several] = [c for c in row[several] or () if c != "no_call"]
        made[f"{subset}_metadata_{split}.parquet"] = _parquet(rows)
    return Presented(copy.files, names, made)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    return content.getvalue()


# What several need


def _stem(name: Any) -> str:
    """Returns the name of a clip without folders and without the suffix of audio."""
    path = pathlib.PurePosixPath(str(name))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _csv(header: Sequence[str] | None, rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([header] if header else [])
    writer.writerows(rows)
    return text.getvalue().encode()
