"""The tensors of AudioMAE checkpoints, pre-trained and fine-tuned.

The training scripts save `{"model": tensors, ...}`; copies for timm hold the tensors
alone.

Source: github.com/facebookresearch/AudioMAE, commit of 2023-05-13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.weights import vit
from unmute_jax.weights.contents import Canonical, select, state_dict
from unmute_jax.weights.mapping import Leaf, Shape
from unmute_jax.weights.vit import BANDS, Sizes

_IGNORED = {
    "decoder_": "decoder of the pre-training",
    "encoder_emb.": "an experiment of the authors",
    "mask_token": "decoder of the pre-training",
}


def canonical(content: Any, source: str) -> Canonical:
    """The tensors of the encoder, under the names of timm.

    Raises:
        InputError: The file holds no state dict of tensors.
    """
    state = state_dict(content, source)
    return select(
        state,
        source,
        layout="names of timm",
        rename=lambda name: name,
        ignored=_IGNORED,
    )


def choose_heads(sizes: Sizes, content: Any, given: int | None, source: str) -> int:
    """`given` or width / 64; the files do not say."""
    del content, source
    return given or vit.usual_heads(sizes)


def read_sizes(tensors: Mapping[str, np.ndarray], content: Any, source: str) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    Raises:
        InputError: A tensor that tells a size is missing or of an odd shape.
    """
    del content
    return vit.check_grid(vit.read_sizes(tensors, source), source)


def base_sizes(width: int, depth: int, num_heads: int) -> Sizes:
    """Sizes in the proportions of AudioMAE-base, positions for 10.24 s."""
    del num_heads
    return Sizes(width=width, depth=depth, hidden=4 * width, positions=1 + 64 * BANDS)


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    return vit.layout(sizes)


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Random tensors and the fixed positions, the same on every device."""
    rng = np.random.default_rng(seed)
    shapes = layout(sizes)
    tensors = {name: vit.draw(name, shape, rng) for name, shape in shapes.items()}
    table = position_table(sizes.positions - 1, sizes.width)
    # The class token is nowhere.
    tensors["pos_embed"] = np.pad(table, ((1, 0), (0, 0)))[None]
    return tensors


def position_table(rows: int, width: int) -> np.ndarray:
    """The table of the reference, `[rows, width]` float32.

    It was made for a grid of 8 x 64, while the tokens come as 64 x 8: its axes are not
    time and frequency, but every token has a row of its own, and the weights were
    trained with it.
    """
    row, column = np.divmod(np.arange(rows), rows // BANDS)
    return vit.sine_table((column, row), width)


def leaves(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> Iterator[Leaf]:
    """Parameters of `encoders.audiomae.AudioMaeNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of the layout.
    """
    return vit.leaves(tensors, layout(sizes), source)
