"""Checkpoints of Bird-MAE: of Hugging Face, and of Lightning before and after tuning.

The files of Hugging Face hold both last LayerNorms: `norm`, which pre-training used,
and `fc_norm`, which it did not. Lightning's pre-training saves the encoder under
`encoder.` beside the decoder.

Source: github.com/DBD-research-group/Bird-MAE, commit a514ef5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmute_jax.weights.audiomae import position_table
from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.contents import TRAINING, EncoderTensors, select, state_dict
from unmute_jax.weights.mapping import Shape, linear_shapes, norm_shapes
from unmute_jax.weights.vit import BANDS, PATCH, VitCheckpoints, block_shapes

STEPS = 32  # time steps of 5.12 s

# (width, depth) of the published models -> (name, attention heads). The heads of Huge
# are 80 wide, not 64.
PUBLISHED_SIZES = {
    (768, 12): ("base", 12),
    (1024, 24): ("large", 16),
    (1280, 32): ("huge", 16),
}

_STATE = "state of the training"
_BESIDE = TRAINING | {
    "callbacks": _STATE,
    "datamodule_hparams_by_path": _STATE,
    "global_step": _STATE,
    "hparams_name": _STATE,
    "hyper_parameters": _STATE,
    "loops": _STATE,
    "lr_schedulers": _STATE,
    "optimizer_states": _STATE,
    "pytorch-lightning_version": _STATE,
}
_IGNORED = {
    "decoder.": "decoder of the pre-training",
    "encoder.": "the model before its weights were averaged (encoder_ema)",
    "loss": _STATE,
    "mask_token": "decoder of the pre-training",
    "test_": "metrics of the training",
    "train_": "metrics of the training",
    "val_": "metrics of the training",
    "valid_": "metrics of the training",
}


class BirdMaeCheckpoints(VitCheckpoints):
    """Checkpoints of Bird-MAE; the position table is for 5.12 s."""

    base_positions = 1 + STEPS * BANDS

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of any layout.

        Files of the pre-training lack `fc_norm`, which nothing has trained: it becomes
        the identity, as it is initialised.

        Raises:
            InputError: The file holds no state dict of tensors.
        """
        is_lightning = isinstance(content, dict) and "state_dict" in content
        key = "state_dict" if is_lightning else "model"
        state = state_dict(content, source, key=key, beside=_BESIDE)
        parts = {name.partition(".")[0] for name in state.tensors}
        prefix = next((f"{p}." for p in ("encoder_ema", "encoder") if p in parts), "")
        layout = "Hugging Face"
        if is_lightning:
            layout = f"Lightning, {'pre-trained' if prefix else 'fine-tuned'}"
        found = select(
            state,
            layout=layout,
            ignored=_IGNORED,
            rename=lambda name: name.removeprefix(prefix).removeprefix("model."),
        )
        norm = found.tensors.get("norm.weight")
        if norm is not None and "fc_norm.weight" not in found.tensors:
            found.tensors["fc_norm.weight"] = np.ones_like(norm)
            found.tensors["fc_norm.bias"] = np.zeros_like(norm)
        return found

    def choose_heads(
        self, found: EncoderTensors, sizes: Sizes, given: int | None
    ) -> int:
        """Returns `given`, or the heads of the published size, or the usual number."""
        _, published = PUBLISHED_SIZES.get((sizes.width, sizes.depth), (None, None))
        return given or published or super().choose_heads(found, sizes, None)

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "cls_token": (1, 1, d),
            "pos_embed": (1, sizes.positions, d),
            "patch_embed.proj.weight": (d, 1, PATCH, PATCH),
            "patch_embed.proj.bias": (d,),
            **block_shapes(sizes),
            **norm_shapes("norm", d),
            **norm_shapes("fc_norm", d),
        }
        if sizes.classes is not None:
            shapes |= linear_shapes("head", d, sizes.classes)
        return shapes

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor; the positions are the fixed table of AudioMAE."""
        drawn = super().draw(name, shape, rng)
        if name != "pos_embed":
            return drawn
        table = position_table(shape[1] - 1, shape[2])
        return np.pad(table, ((1, 0), (0, 0)))[None]
