"""Tells which recordings are of the data set that a probe was trained on.

Scores of such recordings say nothing about new ones, unless they were kept for the
test. The settings of the run name the place of the data set, which is enough to tell.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Sequence

from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.tables import read_text
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.windows import RecordingFile
from unmute_jax.results.trained import TrainedProbe


def describe_training(trained: TrainedProbe) -> str:
    """Returns the training that a probe comes from, in one line."""
    # Probes of one's own loop may lack some of it.
    of_data = [text for text in (trained.dataset, trained.protocol) if text]
    score = f"{100 * trained.validation:.2f}"
    validation = score if math.isfinite(trained.validation) else "unknown"
    return ", ".join(
        [trained.name, *of_data, f"seed {trained.seed}", f"validation {validation}"]
    )


def notes_on_seen(
    trained: TrainedProbe, recordings: Sequence[RecordingFile]
) -> list[str]:
    """Returns a note if recordings are of the data set of the run.

    These are the recordings below the folder of the data set or, if the data set is a
    table, those of them that the table names.

    Args:
        trained: The trained probe.
        recordings: The recordings.
    """
    place, root = _place(trained)
    if root is None:
        return []
    resolved = (one.path.expanduser().resolve() for one in recordings)
    seen = [path for path in resolved if path.is_relative_to(root)]
    if place.is_file():
        try:
            text = read_text(Folder(place.parent), place.name, [])
        except InputError:
            return []
        # Tables may name a recording with or without its folder and its suffix.
        seen = [
            path
            for path in seen
            if re.search(rf"(?<!\w){re.escape(path.stem)}(?!\w)", text)
        ]
    if not seen:
        return []
    return [
        f"{len(seen)} of {len(recordings)} recordings are of the data set that the "
        f"probe was trained on, {place}: their scores are no test, except for test "
        f"recordings of {trained.protocol!r}"
    ]


def _place(trained: TrainedProbe) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The folder or table of the data set, and the folder of its recordings."""
    kind, _, name = trained.settings.get("dataset", "").partition(":")
    data_dir = trained.settings.get("data_dir", "")
    is_own = kind in ("annotations", "csv", "folder")
    place = pathlib.Path((is_own and name) or data_dir).expanduser().resolve()
    if not (is_own or data_dir) or not place.exists():
        return place, None
    if data_dir:
        return place, pathlib.Path(data_dir).expanduser().resolve()
    return place, place.parent if place.is_file() else place
