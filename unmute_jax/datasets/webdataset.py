"""WebDataset archives: `wds:PATTERN` names tar files with audio beside its labels.

A sample is an audio member and members of the same name with its labels: `KEY.json`,
`KEY.cls` (the index of a class) or `KEY.txt` (a name). X-ARES and others publish data
sets like this. The label in a json is found by its usual name or named by an option; a
list of objects with onset, offset and label gives events.

The split of an archive is in its name (`fsd50k_eval_0000.tar`), unless options name
patterns. Archives whose names have the number of a fold make folds.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.hub_layout import usual_split
from unmute_jax.datasets.known_copies import notes_on_copy
from unmute_jax.datasets.names import normal_name
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.datasets.row_builder import About, RowBuilder
from unmute_jax.datasets.row_labels import RowLabels, counted
from unmute_jax.datasets.tars import Sample, Tars, find_tars
from unmute_jax.errors import InputError, one_line

# Usual names of the labels in a json, in the order of preference.
_LABEL_NAMES = (
    "labels", "label", "soundevents", "soundevent", "sound", "classes", "class",
    "category", "tags", "target",
)  # fmt: skip
_FOLD = re.compile(r"fold[-_]?(\d+)", re.IGNORECASE)
_EVENT = {"onset", "offset", "label"}


def webdataset(
    place: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    label_column: str = "",
    group_column: str = "",
    label_separator: str = "auto",
    train_from: str = "",
    validation_from: str = "",
    test_from: str = "",
    folds: str | int = "",
) -> RowBuilder:
    """Makes the builder of WebDataset archives.

    Args:
        place: A folder with tar files, or their paths with `*`, `{00..03}` and `{a,b}`.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of samples without a label and of unreadable clips; see
            `load_dataset`.
        label_column: Name of the labels in the json, or "cls" or "txt" for those
            members; by default it is found.
        group_column: Name in the json of what keeps clips in one split: a recording, a
            site or a speaker.
        label_separator: See `RowLabels`.
        train_from: Patterns of the names of archives to train on, separated by commas;
            by default those whose names say so.
        validation_from: Patterns of the archives for selection, likewise.
        test_from: Patterns of the archives for the test, likewise.
        folds: Folds to make instead of splits; see `division.divide`. "archives" makes
            one of each number after "fold" in the names of the archives, which is the
            default where all have one.
    """
    if data_dir is not None:
        raise InputError(f"wds:{place} names its place; data_dir is not used")
    files = Tars(find_tars(place))
    name = _name(place)
    given = {"train": train_from, "validation": validation_from, "test": test_from}
    fold_of = {archive: _FOLD.findall(archive) for archive in files.samples}
    has_folds = all(fold_of.values()) and not any(given.values())
    if folds == "archives" and not has_folds:
        raise InputError(
            f"wds:{place}: dataset_options.folds=archives needs a number after 'fold' "
            "in every name"
        )
    uses_archives = has_folds and folds in ("", "archives") and not group_column
    split_of = _splits(files, given, place) if not (folds or uses_archives) else {}
    split_of = split_of or dict.fromkeys(files.samples, "")
    skipped: list[str] = []
    skip = skipped.append if on_bad == "skip" else None
    rows: list[OwnEntry] = []
    values: list[Any] = []
    reader = _Labels(files, label_column, group_column)
    for archive, samples in files.samples.items():
        if archive not in split_of:
            continue
        for sample in samples:
            try:
                value, group = reader.read(sample)
                value, of_clip = _events(value)
            except InputError as error:
                message = f"{files.where(sample.audio)}: {error}"
                if skip is None:
                    raise InputError(message) from None
                skip(message)
                continue
            if uses_archives:
                group = f"fold {fold_of[archive][-1]:>03}"
            rows.append(
                OwnEntry(
                    file=sample.audio,
                    labels=(),
                    events=of_clip,
                    split=split_of[archive],
                    group=group,
                )
            )
            values.append(value)
    if not rows:
        reason = skipped[0] if skipped else "they have no audio"
        raise InputError(f"wds:{place}: none of its samples can be used: {reason}")
    labels = RowLabels(label_separator, skip)
    found = labels.names(values, [()] * len(rows), lambda i: files.where(rows[i].file))
    kept = [
        dataclasses.replace(row, labels=names)
        for row, names in zip(rows, found, strict=True)
        if names is not None
    ]
    unused = [archive for archive in files.samples if archive not in split_of]
    about = About(
        name=f"wds:{name}",
        place=f"wds:{place}",
        source=f"{name}, {len(files.samples)} archives, labels in {reader.described}",
        classes=labels.classes,
        has_lists=any(isinstance(value, list) for value in values),
        licence="not stated; see where it is published",
        notes=(
            *notes_on_copy(name, ()),
            *([f"not used: {', '.join(unused)}"] if unused else []),
            *files.notes,
            *counted(skipped),
        ),
    )
    folds = "groups" if uses_archives else folds
    return RowBuilder(about, files, kept, on_bad=on_bad, folds=folds)


def _name(place: str) -> str:
    """Returns the folder of a pattern, and what its archives have in common."""
    folder, _, last = place.rstrip("/").rpartition("/")
    if not last.endswith(".tar"):
        return last
    parts = re.split(r"[-_.]*(?:\{[^}]*\}|[*?]+)[-_.]*", last.removesuffix(".tar"))
    stem = "-".join(part for part in parts if part)
    return f"{folder.rpartition('/')[2]}/{stem}".strip("/")


def _splits(files: Tars, given: Mapping[str, str], place: str) -> dict[str, str]:
    """Returns the split of each archive that is used, or nothing if none has one.

    A split is empty if a rule makes the other splits of what is for training.
    """
    split_of: dict[str, str] = {}
    for split, text in given.items():
        for pattern in filter(None, (part.strip() for part in text.split(","))):
            matching = [a for a in files.samples if fnmatch.fnmatch(a, pattern)]
            if not matching:
                raise InputError(
                    f"wds:{place}: dataset_options.{split}_from={pattern} names none "
                    f"of its archives {', '.join(list(files.samples)[:5])}"
                )
            for archive in matching:
                if split_of.setdefault(archive, split) != split:
                    raise InputError(
                        f"wds:{place}: {archive} is for {split_of[archive]} and for "
                        f"{split}"
                    )
    for archive in files.samples:
        stem = re.sub(r"[-_.]*\d*\.tar$", "", archive.rpartition("/")[2])
        split = usual_split(stem) or usual_split(archive.rpartition("/")[0])
        if split and archive not in split_of and not given[split]:
            split_of[archive] = split
    if split_of and "train" not in split_of.values():
        raise InputError(
            f"wds:{place}: no archive is for training, there are "
            f"{', '.join(list(files.samples)[:5])}; dataset_options.train_from=PATTERN "
            "names those to train on"
        )
    if set(split_of.values()) == {"train"}:
        return dict.fromkeys(split_of, "")
    return split_of


class _Labels:
    """Finds the labels of samples, at the same place in all of them.

    Attributes:
        described: Place of the labels, for the description of the data set.
    """

    def __init__(self, files: Tars, label_column: str, group_column: str):
        self._files = files
        self._name = label_column
        self._group = group_column
        self.described = label_column

    def read(self, sample: Sample) -> tuple[Any, str]:
        """Returns what a sample says about its labels, and its group.

        Raises:
            InputError: It has no labels at that place; the message does not name it.
        """
        group = ""
        if self._group:
            group = str(self._field(sample, self._group))
        if not self._name:
            self._name = self._find(sample)
            self.described = self._name
        if self._name in ("cls", "txt") and f".{self._name}" in sample.labels:
            text = sample.labels[f".{self._name}"]
            return _text(text, number=self._name == "cls"), group
        if self._name == "json":
            return _json(sample.labels.get(".json")), group
        return self._field(sample, self._name), group

    def _field(self, sample: Sample, name: str) -> Any:
        content = _json(sample.labels.get(".json"))
        if not isinstance(content, dict):
            kind = type(content).__name__
            raise InputError(f"its json holds a {kind}, not an object with {name}")
        if name not in content:
            names = ", ".join(content) or "nothing"
            raise InputError(one_line(f"its json has no {name}, only {names}", 200))
        return content[name]

    def _find(self, sample: Sample) -> str:
        """Returns the name of the labels of the first sample, which all have."""
        if ".json" in sample.labels:
            content = _json(sample.labels[".json"])
            if not isinstance(content, dict):
                return "json"
            names = [name for name in _LABEL_NAMES if name in content]
            if names or len(content) == 1:
                return next(iter(names or content))
            if not {".cls", ".txt"} & sample.labels.keys():
                raise InputError(
                    one_line(
                        f"its json has {', '.join(content) or 'nothing'}; "
                        "dataset_options.label_column names what holds the labels",
                        200,
                    )
                )
        for suffix in ("cls", "txt"):
            if f".{suffix}" in sample.labels:
                return suffix
        raise InputError("has no json, cls or txt beside it with its labels")


def _json(content: bytes | None) -> Any:
    if content is None:
        raise InputError("has no json beside it")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InputError("its json is damaged") from None


def _text(content: bytes, number: bool) -> str | int:
    try:
        text = content.decode("utf-8-sig").strip()
        return int(text) if number else text
    except ValueError:
        kind = "cls is no number" if number else "txt is no text in UTF-8"
        raise InputError(f"its {kind}") from None


def _events(value: Any) -> tuple[Any, tuple[tuple[str, float, float], ...]]:
    """Turns a list of objects with onset, offset and label into names and events."""
    is_list = isinstance(value, list) and bool(value)
    if not is_list or not all(isinstance(item, dict) for item in value):
        return value, ()
    names: list[str] = []
    events: list[tuple[str, float, float]] = []
    for item in value:
        if not item.keys() >= _EVENT or not isinstance(item["label"], str):
            raise InputError("its json has an event without onset, offset and label")
        try:
            onset, offset = float(item["onset"]), float(item["offset"])
        except (TypeError, ValueError):
            onset, offset = math.nan, math.nan
        if not 0 <= onset < offset < math.inf:
            raise InputError(
                f"an event cannot last from {item['onset']!r} to {item['offset']!r} s"
            )
        for name in filter(None, map(normal_name, item["label"].split(","))):
            names.append(name)
            events.append((name, onset, offset))
    return names, tuple(events)
