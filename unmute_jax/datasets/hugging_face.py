"""Data sets of Hugging Face: `hf:OWNER/NAME` on the hub, or `hf:FOLDER` of tables.

The rows of the tables (parquet files, or what `save_to_disk` of `datasets` writes) hold
audio and labels. Which columns these are is read from the features that the tables or
the head of README.md declare; where they do not, options name them. A label is the
index of a class, its name, a list of either, or one number per class.

The splits are those of the data set (see `hub_layout`). A missing validation or test
split is made by rule, and `folds` makes folds instead (see `division`).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.datasets.audio_rows import AudioRows
from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.features import (
    Feature,
    audio_column,
    features_of,
    label_column,
)
from unmute_jax.datasets.hub import Copy, find_copy
from unmute_jax.datasets.hub_layout import choose_splits
from unmute_jax.datasets.known_copies import notes_on_copy
from unmute_jax.datasets.names import normal_name
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.datasets.parquet import open_table
from unmute_jax.datasets.row_builder import About, RowBuilder
from unmute_jax.datasets.row_labels import RowLabels, counted
from unmute_jax.errors import InputError


def hugging_face(
    place: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    label_column: str = "",
    audio_column: str = "",
    group_column: str = "",
    label_separator: str = "auto",
    train_from: str = "",
    validation_from: str = "",
    test_from: str = "",
    folds: str | int = "",
    revision: str = "",
) -> RowBuilder:
    """Makes the builder of a data set of Hugging Face.

    Args:
        place: "OWNER/NAME" or "OWNER/NAME:CONFIG" of the hub, or the path of a folder,
            again with ":CONFIG" if it has several configurations.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of rows without a label and of unreadable clips; see
            `load_dataset`.
        label_column: Column with the labels; by default the one that is declared.
        audio_column: Column with the audio; by default the one that is declared.
        group_column: Column whose equal values keep clips in one split: a recording, a
            site, a speaker, or a published fold.
        label_separator: See `RowLabels`.
        train_from: Splits to train on, separated by commas; by default the one whose
            name says so.
        validation_from: Splits for selection, likewise.
        test_from: Splits for the test, likewise.
        folds: Folds to make instead of splits; see `division.divide`.
        revision: Branch, tag or commit on the hub; by default "main", or the hub's own
            conversion to parquet files.
    """
    if data_dir is not None:
        raise InputError(f"hf:{place} names its place; data_dir is not used")
    copy = find_copy(place, revision)
    given = {"train": train_from, "validation": validation_from, "test": test_from}
    chosen = choose_splits(copy.layout.splits, given, copy.name)
    tables = _tables(copy, chosen)
    root = copy.fetch(tables)
    reader = _Reader(copy, root, on_bad, label_column, audio_column, group_column)
    rows, labels = reader.read(tables, label_separator)
    if len(chosen) == 1:
        # Only then may a rule make the splits for the test, too.
        rows = [dataclasses.replace(row, split="") for row in rows]
    notes = [
        *notes_on_copy(copy.name, reader.columns),
        *_notes_on_splits(copy.layout.splits, chosen),
        *counted(reader.skipped),
    ]
    at = f" at {copy.listing.commit[:7]}" if copy.listing else ""
    about = About(
        name=f"hf:{copy.name}",
        place=copy.name,
        source=f"{copy.name}{at}, {reader.described}",
        classes=labels.classes,
        has_lists=reader.has_lists,
        licence=copy.licence or "not stated; see its page",
        notes=tuple(notes),
    )
    return RowBuilder(about, reader.files, rows, on_bad=on_bad, folds=folds)


def _tables(copy: Copy, chosen: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Returns the split that each table of some splits serves for."""
    return {
        table: role
        for role, splits in chosen.items()
        for split in splits
        for table in copy.layout.splits[split]
    }


def _notes_on_splits(
    there: Iterable[str], chosen: Mapping[str, Sequence[str]]
) -> list[str]:
    used = [split for splits in chosen.values() for split in splits]
    unused = [split for split in there if split not in used]
    notes = [f"not used: split {', '.join(unused)}"] if unused else []
    # The hub calls a split like this of which it converts the first gigabytes only.
    parts = [split for split in used if split.startswith("partial-")]
    return notes + [f"{split} is only a part of the split" for split in parts]


class _Reader:
    """Reads the rows of the tables of a copy.

    Attributes:
        files: The audio of the rows.
        columns: Names of the columns of the first table.
        skipped: Messages about rows that were left out.
        has_lists: Whether the labels are lists.
        described: The columns that are read, for the description of the data set.
    """

    def __init__(
        self,
        copy: Copy,
        root: pathlib.Path,
        on_bad: OnBad,
        label_column: str,
        audio_column: str,
        group_column: str,
    ):
        self._copy, self._root = copy, root
        self._given = (label_column, audio_column)
        self._group = group_column
        self.skipped: list[str] = []
        self._skip = self.skipped.append if on_bad == "skip" else None
        self.columns: tuple[str, ...] = ()
        self.has_lists = False
        self.described = ""
        self.files: AudioRows

    def read(
        self, tables: Mapping[str, str], separator: str
    ) -> tuple[list[OwnEntry], RowLabels]:
        """Reads the rows of tables.

        Args:
            tables: Split of each table.
            separator: See `RowLabels`.

        Returns:
            The rows that have a label, and what reads labels.
        """
        first = next(iter(tables))
        opened = open_table(self._root / first)
        features = features_of(opened, self._copy.layout.features)
        self.columns = tuple(opened.schema.names)
        label = label_column(opened, features, self._given[0])
        audio = audio_column(opened, features, self._given[1])
        self.described = f"columns {audio} and {label}"
        is_published = self._copy.listing is not None
        self.files = AudioRows(self._root, audio, is_published)
        values: list[Any] = []
        declared: list[tuple[str, ...]] = []
        rows: list[OwnEntry] = []
        for table, split in tables.items():
            names = self._names(table, label)
            self._fetch_audio(table)
            extra = [self._group] if self._group else []
            for row in self.files.rows(table, [label, *extra]):
                group = self._group_of(row) if self._group else ""
                rows.append(
                    OwnEntry(file=row["name"], labels=(), split=split, group=group)
                )
                values.append(row[label])
                declared.append(names)
        if self._group:
            rows = _sortable(rows)
        self.has_lists = features[label].kind == "labels" or any(
            isinstance(value, list) for value in values
        )
        labels = RowLabels(separator, self._skip)
        found = labels.names(
            values, declared, lambda i: f"{self.files.where(rows[i].file)}, {label}"
        )
        kept = [
            dataclasses.replace(row, labels=names)
            for row, names in zip(rows, found, strict=True)
            if names is not None
        ]
        return kept, labels

    def _names(self, table: str, label: str) -> tuple[str, ...]:
        """Returns the class names that a table declares; tables may differ in them."""
        opened = self.files.table(table)
        opened.check([label])
        feature: Feature = features_of(opened, self._copy.layout.features)[label]
        return tuple(normal_name(name) for name in feature.names)

    def _fetch_audio(self, table: str) -> None:
        """Downloads the files that the rows of a table name instead of holding them."""
        listing = self._copy.listing
        if listing is None:
            return
        folder = pathlib.PurePosixPath(table).parent
        for path in self.files.paths(table).values():
            names = os.path.normpath(folder / path), os.path.normpath(path)
            if there := [name for name in names if name in listing.sizes]:
                self._copy.fetch(there[:1])

    def _group_of(self, row: Mapping[str, Any]) -> str:
        group = row[self._group]
        if group is None or isinstance(group, (list, dict, bytes)):
            kind = "empty" if group is None else f"a {type(group).__name__}"
            raise InputError(
                f"{self.files.where(row['name'])}: group_column {self._group} is {kind}"
            )
        return str(group)


def _sortable(rows: Sequence[OwnEntry]) -> list[OwnEntry]:
    """Returns rows whose groups, if they are numbers, sort by value."""
    if not all(row.group.isdecimal() for row in rows):
        return list(rows)
    width = max(len(row.group) for row in rows)
    return [dataclasses.replace(row, group=row.group.zfill(width)) for row in rows]
