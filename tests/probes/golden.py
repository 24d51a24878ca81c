"""Reference values of the public PyTorch implementations."""

import os
import pathlib

import jax.numpy as jnp
import numpy as np

from unmute_jax.tokens import Tokens

FOLDER = pathlib.Path(
    os.environ.get("UNMUTE_FIXTURES", pathlib.Path(__file__).parents[1] / "data")
)


def cases(pattern: str) -> list[pathlib.Path]:
    """The files of `probes/` with names like `pattern`; at least one."""
    found = sorted((FOLDER / "probes").glob(pattern))
    if not found:
        raise FileNotFoundError(f"no golden case like {pattern} in {FOLDER}/probes")
    return found


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of one case."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def tokens_from(x: np.ndarray, cls: np.ndarray | None = None) -> Tokens:
    """Tokens from the reference's layout `[B, D, T, F]`."""
    patches = jnp.moveaxis(jnp.asarray(x), 1, -1)
    b, t, *_ = patches.shape
    cls = patches.mean((1, 2)) if cls is None else jnp.asarray(cls)
    return Tokens(patches=patches, cls=cls, mask=jnp.ones((b, t), bool))
