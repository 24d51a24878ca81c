"""SSLAM (ICLR 2025, OpenReview odU59TxdiB): the network of EAT, other weights.

It goes on from EAT-base with mixed spectrograms; nothing of that is in the encoder. The
inference code of github.com/ta012/SSLAM, commit 0a3c0ff (MIT), equals that of EAT; the
published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
import functools

from unmute_jax.encoders import eat
from unmute_jax.encoders.vit_encoder import Input
from unmute_jax.encoders.vit_family import Recipe
from unmute_jax.encoders.vit_family import build as build_family

# SPASS is the data of the polyphonic evaluation.
SPASS = Recipe(1024, Input(mean=-5.275, std=3.268))

ORIGIN = dataclasses.replace(
    eat.ORIGIN,
    title="SSLAM",
    citation="Alex et al., SSLAM: Enhancing Self-Supervised Models with Audio Mixtures "
    "for Polyphonic Soundscapes, ICLR 2025, OpenReview odU59TxdiB",
    code="github.com/ta012/SSLAM, commit 0a3c0ff",
)

FAMILY = dataclasses.replace(eat.FAMILY, recipes={**eat.RECIPES, "spass": SPASS})

build = functools.partial(build_family, FAMILY)
