"""Where the reference values lie, and how near to them we come."""

import collections.abc
import os
import pathlib

import numpy as np

FOLDER = pathlib.Path(
    os.environ.get("UNMUTE_FIXTURES", pathlib.Path(__file__).parent / "data")
)
ENCODERS = FOLDER / "encoders"
MORE_ENCODERS = FOLDER / "encoders_more"
TORCH_FILES = FOLDER / "torch_checkpoints"
# Files of earlier versions of this package: there is no reference for them.
FORMAT_1 = pathlib.Path(__file__).parent / "data" / "format_1"


# What the running test has read: (file, array).
looked_up: set[tuple[str, str]] = set()


class Arrays(collections.abc.Mapping[str, np.ndarray]):
    """The arrays of a file, which note what is looked up.

    A subclass of `dict` would let `|` and `items` pass without a note.
    """

    def __init__(self, path: pathlib.Path):
        """Reads the file."""
        self._file = os.path.relpath(path, FOLDER)
        with np.load(path, allow_pickle=False) as arrays:
            self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        """One array, which counts as read from now on."""
        array = self._arrays[name]
        looked_up.add((self._file, name))
        return array

    def __contains__(self, name: object) -> bool:
        """Whether the file has an array of that name, which does not read it."""
        return name in self._arrays

    def __iter__(self):
        """The names of the arrays."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """The number of arrays."""
        return len(self._arrays)


def read(path: pathlib.Path) -> Arrays:
    """The arrays of an .npz file."""
    return Arrays(path)


def unread(known: set[tuple[str, str]]) -> list[str]:
    """The arrays in golden files of encoders that are not among the known ones."""
    arrays = {
        (os.path.relpath(file, FOLDER), name)
        for folder in (ENCODERS, MORE_ENCODERS)
        for file in folder.glob("*.npz")
        for name in np.load(file).files
    }
    return [f"{file}: {name}" for file, name in sorted(arrays - known)]


# What the running test compared: (array, largest absolute error, atol, rtol, largest
# error as a share of what its tolerance allows).
compared: list[tuple[str, float, float, float, float]] = []


def assert_close(got, want, what: str, *, atol: float, rtol: float = 0.0) -> None:
    """Holds an array against its reference, and notes how near it is.

    `python -m pytest --parity-table=FILE` writes all notes as a table.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape == want.shape and got.size:
        wide = want.astype(np.float64)
        error, allowed = np.abs(got.astype(np.float64) - wide), atol + rtol * abs(wide)
        # Where nothing is allowed, arrays are equal or the test fails.
        share = np.divide(error, allowed, where=allowed > 0, out=np.zeros_like(error))
        row = (what, *map(float, (error.max(), atol, rtol, share.max())))
        compared.append(row)
    np.testing.assert_allclose(got, want, atol=atol, rtol=rtol, err_msg=what)
