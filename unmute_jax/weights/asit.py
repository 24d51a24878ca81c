"""The tensors of ASiT checkpoints.

The training script saves a student and a teacher; the teacher, a running mean of the
student, is the encoder. Copies by others hold its tensors alone, under `model.`. The
projection heads of the pre-training are never read, nor are the classification heads
that others have trained on top.

Source: github.com/Sara-Ahmed/ASiT, commit of 2024-03-10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmute_jax.weights import vit
from unmute_jax.weights.mapping import state_dict
from unmute_jax.weights.vit import BANDS, Sizes

# What distributed training, the training script and the copies put in front.
_PREFIX = re.compile(r"(module\.)?(backbone\.|model\.(asit\.)?)?")
_IGNORED = ("head.", "head_recons.", "head_cls.", "weak_head.", "strong_head.")


def canonical(content: Any, source: str) -> dict[str, np.ndarray]:
    """The tensors of the encoder, under the names of timm.

    Raises:
        InputError: The file holds neither a teacher nor a state dict of tensors.
    """
    nested = isinstance(content, dict) and isinstance(content.get("model"), dict)
    key = "model" if nested else "teacher"
    return vit.renamed(state_dict(content, source, key=key, flat=True), _rename, source)


def _rename(name: str) -> str | None:
    short = _PREFIX.sub("", name, count=1)
    return None if short.startswith(_IGNORED) else short


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


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Random tensors, learnt positions included, the same on every device."""
    rng = np.random.default_rng(seed)
    shapes = vit.layout(sizes)
    return {name: vit.draw(name, shape, rng) for name, shape in shapes.items()}


def to_params(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> dict[str, Any]:
    """Parameters of `encoders.asit.AsitNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of the layout.
    """
    return vit.to_params(tensors, vit.layout(sizes), source)
