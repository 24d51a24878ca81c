"""Checkpoints of OpenBEATs, pre-trained or fine-tuned with ESPnet.

The tensors are those of BEATs. A pre-trained file may hold the decoder beside them,
with or without prefixes; a fine-tuned file is a bare state dict that says nothing of
the network. The constants of the front end may come with the file, so they are
parameters.

Source: package openbeats 0.1.1 (MIT) and the ESPnet repository (Apache-2.0).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.beats import (
    PATCH,
    STRUCTURE,
    BeatsCheckpoints,
    Sizes,
    older_name,
    with_one_table,
)
from unmute_jax.weights.contents import EncoderTensors, select, short, state_dict
from unmute_jax.weights.inert import fields
from unmute_jax.weights.mapping import Rule, Shape

# Mean and standard deviation of the log-mels where the file states none.
MEAN, STD = 15.41663, 6.55582

_DECODER = "decoder of the pre-training"
_MASK = "a constant that carries the padding mask"
_IGNORED = {
    "decoder_": _DECODER,
    "mask_token": _DECODER,
    "patch_embedding_pad.": _MASK,
    "raw2fbank_pad.": _MASK,
}
_EMBEDDING = "patch_embedding.weight"
_HEAD = "decoder.linear_out."


class OpenBeatsCheckpoints(BeatsCheckpoints):
    """Checkpoints of OpenBEATs."""

    # Entries that a configuration leaves out have the defaults of ESPnet's class.
    structure: ClassVar = {**STRUCTURE, "input_patch_size": (PATCH, PATCH)}
    rules = (
        *BeatsCheckpoints.rules,
        Rule("fbank_mean", "input.mean", make=np.asarray),
        Rule("fbank_std", "input.std", make=np.asarray),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of any layout.

        Raises:
            InputError: The file holds no state dict of tensors, or tables that differ,
                or constants of the front end that are impossible.
        """
        state = state_dict(content, source)
        is_prefixed = (
            _EMBEDDING not in state.tensors and f"encoder.{_EMBEDDING}" in state.tensors
        )
        has_head = any(name.startswith(_HEAD) for name in state.tensors)

        def rename(name: str) -> str:
            if name.startswith(_HEAD):
                return name.replace(_HEAD, "predictor.")
            if is_prefixed and name.startswith("decoder."):
                return f"decoder_{name}"
            return older_name(name.removeprefix("encoder.") if is_prefixed else name)

        layout = "ESPnet, fine-tuned" if has_head else "ESPnet, pre-trained"
        found = with_one_table(
            select(state, layout=layout, ignored=_IGNORED, rename=rename)
        )
        tensors = found.tensors
        if "post_extract_proj.weight" not in tensors and _EMBEDDING in tensors:
            # Patches as wide as the blocks are not projected.
            width = len(tensors[_EMBEDDING])
            tensors["post_extract_proj.weight"] = np.eye(width, dtype=np.float32)
            tensors["post_extract_proj.bias"] = np.zeros(width, np.float32)
        config = fields(content.get("cfg"))
        for name, usual in (("fbank_mean", MEAN), ("fbank_std", STD)):
            value = config.get(name, usual)
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if not is_number or (name == "fbank_std" and value <= 0):
                raise InputError(f"{source}: {name} cannot be {short(value)}")
            tensors[name] = np.array([value], np.float32)
        return found

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        return {**super().layout(sizes), "fbank_mean": (1,), "fbank_std": (1,)}

    def untrained(self, sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
        """Returns random tensors and the usual constants of the front end."""
        constants = {"fbank_mean": MEAN, "fbank_std": STD}
        return super().untrained(sizes, seed) | {
            name: np.array([value], np.float32) for name, value in constants.items()
        }
