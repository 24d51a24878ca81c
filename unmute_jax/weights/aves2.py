"""Checkpoints of AVES2: its BEATs and its EAT, with or without a classifier.

The files hold the tensors of BEATs under `backbone.`, or those of EAT under
`backbone.model.`, beside a classifier.

Source: package avex 1.4.0 (MIT).
"""

from __future__ import annotations

import re
from typing import Any

from unmute_jax.weights.beats import BeatsCheckpoints, older_name, with_one_table
from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.contents import EncoderTensors, StateDict, select, state_dict
from unmute_jax.weights.eat import EatCheckpoints
from unmute_jax.weights.mapping import Shape, linear_shapes

# What training and saving put in front of every name.
_OUTER = re.compile(r"(module\.|model\.(?=backbone\.|classifier\.|encoder\.))?")
_BEATS_IGNORED = {
    "fbank.": "constants of the filter bank, which are computed here",
    "predictor.": "the head of another training, for the 527 classes of AudioSet",
}
_EAT_IGNORED = {"_ema": "teacher of the pre-training; the student is the encoder"}


def _state(content: Any, source: str) -> StateDict:
    nested = isinstance(content, dict) and "model_state_dict" in content
    return state_dict(content, source, key="model_state_dict" if nested else "model")


class Aves2BeatsCheckpoints(BeatsCheckpoints):
    """Checkpoints of AVES2 with a BEATs."""

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder and the classifier.

        Raises:
            InputError: The file holds no state dict of tensors, or tables that differ.
        """

        def rename(name: str) -> str:
            return older_name(_OUTER.sub("", name, count=1).removeprefix("backbone."))

        found = select(
            _state(content, source),
            layout="avex",
            ignored=_BEATS_IGNORED,
            rename=rename,
        )
        for leaf in ("weight", "bias"):
            if f"classifier.{leaf}" in found.tensors:
                tensor = found.tensors.pop(f"classifier.{leaf}")
                found.tensors[f"predictor.{leaf}"] = tensor
        return with_one_table(found)


class Aves2EatCheckpoints(EatCheckpoints):
    """Checkpoints of AVES2 with an EAT, whose classifier has no LayerNorm."""

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder and the classifier.

        Raises:
            InputError: The file holds no state dict of tensors.
        """

        def rename(name: str) -> str:
            name = _OUTER.sub("", name, count=1).removeprefix("backbone.")
            return re.sub(r"^classifier\.", "head.", name.removeprefix("model."))

        return select(
            _state(content, source), layout="avex", ignored=_EAT_IGNORED, rename=rename
        )

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        shapes = super().layout(sizes)
        if sizes.classes is not None:
            del shapes["fc_norm.weight"], shapes["fc_norm.bias"]
            shapes |= linear_shapes("head", sizes.width, sizes.classes)
        return shapes
