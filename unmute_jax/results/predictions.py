"""Stores the logits of a record's test split in a file of their own.

A report leaves out the recordings that the clips were cut from in turn, and so
estimates how far a score would move with other test clips.
"""

from __future__ import annotations

import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8

from unmute_jax.errors import one_line
from unmute_jax.io import refuse_lfs_pointer, write_atomically
from unmute_jax.results.typed_json import DamagedFile

# The most logits (clips or time steps times classes) that are stored: 16 MB per record,
# and seconds of a report. AudioSet has more.
MOST = 4_000_000
# What NumPy raises for files that are damaged.
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError),
    *(NotImplementedError, RuntimeError, SyntaxError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Predictions:
    """The logits of one trained probe on the test split, with one row per example.

    An example is a clip, or a time step of one where these are labelled.

    Attributes:
        ids: The clip of each row.
        groups: The recording that this clip was cut from; its own name if unknown.
        labels: One where a class is in the example.
        logits: Logits of the examples.
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
    """Writes `<record_file without .json>.npz`.

    Args:
        folder: The folder to write to.
        record_file: Name of the record's file.
        ids: The clip of each example.
        groups: The recording that a clip was cut from, by name of the clip.
        labels: One where a class is in the example, else zero.
        logits: Logits of the examples.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.asarray([i.encode() for i in ids]),
        groups=np.asarray([groups.get(i, i).encode() for i in ids]),
        record=np.asarray(pathlib.PurePath(record_file).stem.encode()),
        labels=labels.astype(np.uint8),
        logits=logits.astype(np.float32),
    )
    write_atomically(path_of(folder, record_file), buffer.getvalue())


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        DamagedFile: The file is damaged, or belongs to a record of another name. Files
            of earlier versions do not say to which they belong.
        InputError: The file is a pointer of Git LFS.
    """
    # Read as bytes first, because NumPy does not close a file that is damaged.
    content = pathlib.Path(path).read_bytes()
    refuse_lfs_pointer(path, content)
    try:
        with np.load(io.BytesIO(content)) as arrays:
            ids, groups = (
                tuple(x.decode() for x in arrays[name].tolist())
                for name in ("ids", "groups")
            )
            owner = arrays["record"].item() if "record" in arrays else None
            found = Predictions(
                ids,
                groups,
                arrays["labels"].astype(np.uint8, casting="no"),
                arrays["logits"].astype(np.float32, casting="no"),
            )
        shape = (len(ids), *found.logits.shape[1:])
        if not len(groups) == len(ids) > 0 or len(shape) != 2:
            raise ValueError("its arrays do not fit together")
        if not found.labels.shape == found.logits.shape == shape:
            raise ValueError("its arrays do not fit together")
        if owner not in (None, pathlib.PurePath(path).stem.encode()):
            raise ValueError(f"it belongs to the record {owner!r:.60}")
    except _DAMAGE as error:
        raise DamagedFile(
            f"{os.fspath(path)}: not a file of predictions "
            f"({one_line(str(error), 200)})"
        ) from error
    return found


def path_of(folder: pathlib.Path, record_file: str) -> pathlib.Path:
    """The path of the predictions that belong to a record."""
    return folder / pathlib.PurePath(record_file).with_suffix(".npz").name
