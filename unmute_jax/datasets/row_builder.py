"""The builder of data sets that come as rows: tables and archives of anybody.

What a row holds is read by `hugging_face` and `webdataset`. Splits, folds and the
reading of clips are those of one's own files.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.datasets.own_files import OwnFiles


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """Description of a data set of rows.

    Attributes:
        name: Name of the data set, as `load_dataset` takes it.
        place: Its place, for messages.
        source: Description of the copy that is read.
        classes: Names of its classes, in the order of the label indices.
        has_lists: Whether rows hold lists of labels, even if each has only one.
        licence: Licence of the audio.
        notes: Remarks that a reader of the results needs.
    """

    name: str
    place: str
    source: str
    classes: tuple[str, ...]
    has_lists: bool
    licence: str
    notes: tuple[str, ...]


class RowBuilder(OwnFiles):
    """Builder of a data set whose rows are known.

    Args:
        about: Description of the data set.
        files: The audio of the rows.
        rows: The rows; the file of each is one of `files`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
        folds: Folds to make instead of splits; see `division.divide`.
    """

    def __init__(
        self,
        about: About,
        files: Files,
        rows: Sequence[OwnEntry],
        *,
        on_bad: OnBad,
        folds: str | int = "",
    ):
        self._about = about
        self.licence = about.licence
        super().__init__(
            about.name,
            pathlib.Path(about.place),
            rows,
            about.notes,
            on_bad=on_bad,
            folds=folds,
            files=files,
            classes=about.classes,
        )
        self.source = about.source
        if about.has_lists:
            self.task = "multi-label"

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {**super().identity(), "classes": self._about.classes}
