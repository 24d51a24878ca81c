"""SSLAM (ICLR 2025, OpenReview odU59TxdiB): the network of EAT with other weights.

Its training continues that of EAT-base on mixed spectrograms, which changes nothing in
the encoder. The inference code of github.com/ta012/SSLAM, commit 0a3c0ff (MIT), equals
that of EAT; the published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from unmute_jax.encoders import eat
from unmute_jax.encoders.vit_encoder import Input, Recipe

ORIGIN = dataclasses.replace(
    eat.ORIGIN,
    title="SSLAM",
    citation="Alex et al., SSLAM: Enhancing Self-Supervised Models with Audio Mixtures "
    "for Polyphonic Soundscapes, ICLR 2025, OpenReview odU59TxdiB",
    code="github.com/ta012/SSLAM, commit 0a3c0ff",
)


class SslamEncoder(eat.EatEncoder):
    """SSLAM with one set of weights; SPASS is the data of its polyphonic evaluation."""

    recipes: ClassVar = {
        **eat.EatEncoder.recipes,
        "spass": Recipe(1024, Input(mean=-5.275, std=3.268)),
    }


build = SslamEncoder.build
