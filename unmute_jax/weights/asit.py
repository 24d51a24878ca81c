"""Checkpoints of ASiT.

The training script saves a student and a teacher; the teacher, a running mean of the
student, is the encoder. Copies by third parties hold the teacher alone, under `model.`.

Source: github.com/Sara-Ahmed/ASiT, commit of 2024-03-10.
"""

from __future__ import annotations

import re
from typing import Any

from unmute_jax.weights.contents import TRAINING, EncoderTensors, select, state_dict
from unmute_jax.weights.vit import BANDS, VitCheckpoints

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


class AsitCheckpoints(VitCheckpoints):
    """Checkpoints of ASiT; the positions of the base model are learnt, for 5.92 s."""

    base_positions = 1 + 37 * BANDS

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the teacher.

        Raises:
            InputError: The file holds neither a teacher nor a state dict of tensors.
        """
        is_nested = isinstance(content, dict) and isinstance(content.get("model"), dict)
        key = "model" if is_nested else "teacher"
        state = state_dict(content, source, key=key, beside=_BESIDE)
        is_copy = state.is_flat or is_nested
        return select(
            state,
            layout="a copy by others" if is_copy else "training script, teacher",
            ignored=_IGNORED,
            rename=lambda name: _PREFIX.sub("", name, count=1),
        )
