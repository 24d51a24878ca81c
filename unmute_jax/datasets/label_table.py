"""Reads a csv with the labels of the user's own clips.

The columns are `file` (relative to the csv, or absolute) and `labels` (separated by
`;`, empty for a clip without any class). Optional columns are `split` (train,
validation, test, or another name that `names.split_named` knows), `group` (a recording,
a site or a speaker, whose clips stay in one split), and `onset` and `offset` in
seconds, where a file has one line per event. Commas, semicolons or tabs separate the
columns, and upper case does not matter in their names.
"""

from __future__ import annotations

import dataclasses
import pathlib
import posixpath
import re
import unicodedata
from collections.abc import Sequence

from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.names import SPLITS, listed, normal_name, split_named
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.datasets.tables import Line, parse_table, read_text
from unmute_jax.errors import InputError, unknown_name


def read_label_table(path: pathlib.Path) -> tuple[list[OwnEntry], list[str]]:
    """Reads a csv with one line per clip, or per event of a clip.

    Args:
        path: The csv.

    Returns:
        The clips in the order of the csv, and remarks on how it was read.

    Raises:
        InputError: It is no such table, or two of its lines contradict each other.
    """
    notes: list[str] = []
    text = read_text(Folder(path.parent), path.name, notes)
    lines = [
        dataclasses.replace(
            line, values={k.lower(): value for k, value in line.values.items()}
        )
        for line in parse_table(text, str(path), (), delimiter=None)
    ]
    if not lines:
        raise InputError(f"{path}: lists no clip")
    columns = list(lines[0].values)
    if missing := [name for name in ("file", "labels") if name not in columns]:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}, only {', '.join(columns)}"
        )
    if ("onset" in columns) != ("offset" in columns):
        raise InputError(f"{path}: onset and offset go together; one is missing")
    if "fold" in columns:
        notes.append(
            "the column fold is not used; call it group and set folds=groups to test "
            "on one fold at a time"
        )
    entries: dict[str, list[OwnEntry]] = {}
    for line in lines:
        entry = _entry(line, path.parent)
        same = unicodedata.normalize("NFC", entry.file)
        entries.setdefault(same, []).append(entry)
    joined = [_joined(of_file, str(path)) for of_file in entries.values()]
    names = {name for entry in joined for name in entry.labels}
    if odd := sorted(name for name in names if re.search(r"[,|\[\]{}]", name)):
        notes.append(
            f"{listed([repr(name) for name in odd])}: counts as one class each, because"
            " only ; separates labels"
        )
    return joined, notes


def _entry(line: Line, root: pathlib.Path) -> OwnEntry:
    if not line["file"]:
        raise InputError(f"{line.where}: names no file")
    split, events = line.get("split"), ()
    if split and split_named(split) is None:
        raise unknown_name("split", split, SPLITS, line.where)
    labels = tuple(
        dict.fromkeys(filter(None, map(normal_name, line["labels"].split(";"))))
    )
    if line.get("onset") or line.get("offset"):
        onset, offset = line.seconds("onset"), line.seconds("offset")
        if not 0 <= onset < offset:
            raise InputError(
                f"{line.where}: an event cannot last from {onset} to {offset} s"
            )
        if not labels:
            raise InputError(f"{line.where}: an event needs a label")
        events = tuple((name, onset, offset) for name in labels)
    return OwnEntry(
        file=_file(line["file"], root),
        labels=labels,
        events=events,
        split=split_named(split) or "",
        group=normal_name(line.get("group")),
    )


def _file(name: str, root: pathlib.Path) -> str:
    """Returns a path as this system writes it, and in one way only."""
    # Elsewhere than on Windows, a name may contain a backslash.
    if "\\" in name and not (root / name).exists():
        name = name.replace("\\", "/")
    return posixpath.normpath(name)


def _joined(lines: Sequence[OwnEntry], where: str) -> OwnEntry:
    """Makes one clip of its lines: one line, or any number of lines with events."""
    first = lines[0]
    if len(lines) > 1 and not all(line.events for line in lines):
        raise InputError(
            f"{where}: names {first.file} {len(lines)} times; only a file whose every "
            "line has onset and offset may have several lines"
        )
    for line in lines:
        if (line.split, line.group) != (first.split, first.group):
            raise InputError(
                f"{where}: the lines of {first.file} disagree on its split or group"
            )
    return dataclasses.replace(
        first,
        labels=tuple(dict.fromkeys(name for line in lines for name in line.labels)),
        events=tuple(event for line in lines for event in line.events),
    )
