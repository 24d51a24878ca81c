"""The tensors of ASiT checkpoints.

The training script saves a student and a teacher; the teacher, a running mean of the
student, is the encoder. Copies by others hold its tensors alone, under `model.`.

Source: github.com/Sara-Ahmed/ASiT, commit of 2024-03-10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.weights import vit
from unmute_jax.weights.contents import TRAINING, Canonical, select, state_dict
from unmute_jax.weights.mapping import Leaf, Shape
from unmute_jax.weights.vit import BANDS, Sizes

# What distributed training, the training script and the copies put in front.
_PREFIX = re.compile(r"(module\.)?(backbone\.|model\.(asit\.)?)?")
_IGNORED = {
    "head.": "projection head of the pre-training",
    "head_cls.": "projection head of the pre-training",
    "head_recons.": "reconstruction head of the pre-training",
    "strong_head.": "a head that others trained, for a network around this one",
    "weak_head.": "a head that others trained, for a network around this one",
}
_BESIDE = TRAINING | {
    "CLS_PATCH_loss": "state of the training",
    "loss_cls": "state of the training",
    "loss_data": "state of the training",
    "student": "the teacher is the encoder",
}


def canonical(content: Any, source: str) -> Canonical:
    """The tensors of the encoder, under the names of timm.

    Raises:
        InputError: The file holds neither a teacher nor a state dict of tensors.
    """
    nested = isinstance(content, dict) and isinstance(content.get("model"), dict)
    key = "model" if nested else "teacher"
    state = state_dict(content, source, key=key, beside=_BESIDE)
    copied = state.flat or nested
    return select(
        state,
        source,
        layout="a copy by others" if copied else "training script, teacher",
        rename=lambda name: _PREFIX.sub("", name, count=1),
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
    """Sizes in the proportions of ASiT-base, positions for 5.92 s."""
    del num_heads
    return Sizes(width=width, depth=depth, hidden=4 * width, positions=1 + 37 * BANDS)


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    return vit.layout(sizes)


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Random tensors, learnt positions included, the same on every device."""
    rng = np.random.default_rng(seed)
    shapes = layout(sizes)
    return {name: vit.draw(name, shape, rng) for name, shape in shapes.items()}


def leaves(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> Iterator[Leaf]:
    """Parameters of `encoders.asit.AsitNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of the layout.
    """
    return vit.leaves(tensors, layout(sizes), source)
