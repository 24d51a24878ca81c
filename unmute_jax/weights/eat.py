"""The tensors of EAT checkpoints, and of SSLAM's, which has the same network.

Four layouts hold the same tensors: fairseq pre-trained and fine-tuned, and both again
as re-published on Hugging Face. All are renamed to the Hugging Face names without their
leading `model.`.

Source: github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.weights import vit
from unmute_jax.weights.contents import Canonical, select, state_dict, whole_number
from unmute_jax.weights.inert import lookup
from unmute_jax.weights.mapping import Leaf, Shape, norm_shapes
from unmute_jax.weights.vit import BANDS, PATCH, Sizes

_MODALITY = "modality_encoders.IMAGE."  # The audio encoder, in spite of its name.
_CLS = "extra_tokens"
_POSITIONS = "fixed_positional_encoder.positions"
_IGNORED = {
    "_ema": "teacher of the pre-training; the student is the encoder",
    "decoder.": "decoder of the pre-training",
}


def base_sizes(width: int, depth: int, num_heads: int) -> Sizes:
    """Sizes in the proportions of EAT-base, positions for 122.88 s."""
    del num_heads
    return Sizes(width=width, depth=depth, hidden=4 * width, positions=768 * BANDS)


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    d = sizes.width
    return {
        _CLS: (1, 1, d),
        "local_encoder.proj.weight": (d, 1, PATCH, PATCH),
        "local_encoder.proj.bias": (d,),
        _POSITIONS: (1, sizes.positions, d),
        **norm_shapes("pre_norm", d),
        **vit.block_shapes(sizes),
        **vit.head_shapes(sizes),
    }


def canonical(content: Any, source: str) -> Canonical:
    """The tensors of a file in any of the four layouts, under their canonical names.

    Args:
        content: Of a `weights.files.WeightsFile`.
        source: Of the content, for the message.

    Raises:
        InputError: The file holds no state dict of tensors.
    """
    state = state_dict(content, source)
    fairseq = any(_MODALITY in name for name in state.tensors)
    return select(
        state,
        source,
        layout="fairseq" if fairseq else "Hugging Face",
        rename=_rename,
        ignored=_IGNORED,
    )


def _rename(name: str) -> str:
    name = name.removeprefix("model.")
    name = name.replace(f"{_MODALITY}context_encoder.norm.", "pre_norm.")
    return name.removeprefix(_MODALITY)


def choose_heads(sizes: Sizes, content: Any, given: int | None, source: str) -> int:
    """`given`, or what the file states, or width / 64; tensor shapes do not tell."""
    del source
    return given or _stated_heads(content) or vit.usual_heads(sizes)


def _stated_heads(content: Any) -> int | None:
    pretrained = ("cfg", "model", "num_heads")
    finetuned = ("cfg", "model", "pretrained_model_args", "model", "num_heads")
    for path in (finetuned, pretrained, ("config", "num_heads")):
        heads = whole_number(lookup(content, *path))
        if heads is not None:
            return heads
    return None


def read_sizes(tensors: Mapping[str, np.ndarray], content: Any, source: str) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    Raises:
        InputError: A tensor that tells a size is missing or has too few axes.
    """
    del content
    return vit.read_sizes(tensors, source, cls=_CLS, positions=_POSITIONS)


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Tensors as the reference initialises them, the same on every device.

    Linear maps are normal with sd 0.02, biases 0, LayerNorms the identity, the patch
    embedding Xavier-uniform, the class token standard normal; positions are the fixed
    table.
    """
    rng = np.random.default_rng(seed)
    return {name: _draw(name, shape, rng) for name, shape in layout(sizes).items()}


def _draw(name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if name == _POSITIONS:
        return position_table(shape[1], shape[2])[None]
    if name == _CLS:
        return rng.standard_normal(shape, np.float32)
    return vit.draw(name, shape, rng)


def position_table(rows: int, width: int) -> np.ndarray:
    """Sines and cosines of (time, frequency), `[rows, width]` float32, time-major.

    The first half of the channels holds the frequency index. Published files store this
    table rounded through float16: theirs is read, never recomputed.
    """
    t, f = np.divmod(np.arange(rows), BANDS)
    return vit.sine_table((f, t), width)


def leaves(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> Iterator[Leaf]:
    """Parameters of `encoders.eat.EatNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of `layout(sizes)`.
    """
    return vit.leaves(tensors, layout(sizes), source)
