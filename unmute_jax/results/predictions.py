"""The logits of a record's test clips, kept beside it where they are few.

With them a report can say how far a score would move with other clips: it draws the
recordings that the clips came from again, and scores what was drawn.
"""

from __future__ import annotations

import io
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8

from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically

# Clips times classes: 4 MB per record. Beyond lie AudioSet, FSD50K and the larger
# sets of birds, whose clips are many anyway.
MOST = 1_000_000


@dataclass(frozen=True)
class Predictions:
    """What one trained probe said of the test clips.

    Attributes:
        ids: Names of the clips.
        groups: What each clip was cut from; its own name where that is not known.
        labels: One where a class is in the clip.
        logits: Of the same clips.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: UInt8[np.ndarray, "B C"]
    logits: Float[np.ndarray, "B C"]


def write_predictions(
    folder: pathlib.Path,
    record_file: str,
    ids: Sequence[str],
    groups: Mapping[str, str],
    labels: Num[np.ndarray, "B C"],
    logits: Float[np.ndarray, "B C"],
) -> None:
    """Writes `<record_file without .json>.npz`, unless the clips are too many.

    Args:
        folder: Where to write.
        record_file: Name of the record's file.
        ids: Names of the clips.
        groups: Clip id -> what it was cut from, as far as known.
        labels: Zero or one.
        logits: Of the clips.
    """
    if logits.size > MOST:
        return
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.asarray([i.encode() for i in ids]),
        groups=np.asarray([groups.get(i, i).encode() for i in ids]),
        labels=labels.astype(np.uint8),
        logits=logits.astype(np.float32),
    )
    write_atomically(path_of(folder, record_file), buffer.getvalue())


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """What `write_predictions` wrote.

    Raises:
        InputError: The file is damaged.
    """
    try:
        # NumPy leaves files open that it finds damaged.
        with np.load(io.BytesIO(pathlib.Path(path).read_bytes())) as arrays:
            ids, groups = (
                tuple(x.decode() for x in arrays[name].tolist())
                for name in ("ids", "groups")
            )
            return Predictions(ids, groups, arrays["labels"], arrays["logits"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a file of predictions ({error})") from error


def path_of(folder: pathlib.Path, record_file: str) -> pathlib.Path:
    """Where the predictions of a record are."""
    return folder / pathlib.PurePath(record_file).with_suffix(".npz").name
