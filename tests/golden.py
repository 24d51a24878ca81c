"""Where the reference values lie."""

import os
import pathlib

import numpy as np

FOLDER = pathlib.Path(
    os.environ.get("UNMUTE_FIXTURES", pathlib.Path(__file__).parent / "data")
)
ENCODERS = FOLDER / "encoders"
TORCH_FILES = FOLDER / "torch_checkpoints"


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
