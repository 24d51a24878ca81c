"""Where the reference values lie, and how near to them we come."""

import os
import pathlib

import numpy as np

FOLDER = pathlib.Path(
    os.environ.get("UNMUTE_FIXTURES", pathlib.Path(__file__).parent / "data")
)
ENCODERS = FOLDER / "encoders"
MORE_ENCODERS = FOLDER / "encoders_more"
TORCH_FILES = FOLDER / "torch_checkpoints"


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


# What the running test compared: (array, largest absolute error, atol, rtol).
compared: list[tuple[str, float, float, float]] = []


def assert_close(got, want, what: str, *, atol: float, rtol: float = 0.0) -> None:
    """Holds an array against its reference, and notes how near it is.

    `python -m pytest --parity-table=FILE` writes all notes as a table.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape == want.shape and got.size:
        error = np.abs(got.astype(np.float64) - want.astype(np.float64)).max()
        compared.append((what, float(error), float(atol), float(rtol)))
    np.testing.assert_allclose(got, want, atol=atol, rtol=rtol, err_msg=what)
