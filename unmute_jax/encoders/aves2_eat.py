"""AVES2 with an EAT, an encoder for animal sounds (arXiv 2508.11845).

Re-implemented from the package avex 1.4.0 (MIT). The published weights are for
non-commercial use.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Array, Float

from unmute_jax.encoders.aves2_beats import CITATION, CODE, LICENCE
from unmute_jax.encoders.eat import EatEncoder, EatNetwork
from unmute_jax.encoders.vit_encoder import PUBLISHED_SIZES, Input, Recipe
from unmute_jax.weights.aves2 import Aves2EatCheckpoints
from unmute_jax.weights.encoder_weights import Origin

ORIGIN = Origin(
    title="AVES2-EAT",
    licence=LICENCE,
    citation=CITATION,
    code=CODE,
    checkpoints=Aves2EatCheckpoints(),
    published=PUBLISHED_SIZES,
)


class Aves2EatNetwork(EatNetwork):
    """The network of EAT with a classifier that reads the class token as it is."""

    def normalise_head_input(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Returns the class token: there is no LayerNorm in front of the head."""
        return x


class Aves2EatEncoder(EatEncoder):
    """EAT with weights of AVES2, which have their own constants of the front end."""

    version: ClassVar[int] = 1
    networks: ClassVar = {"cut": Aves2EatNetwork}
    recipes: ClassVar = {"aves2": Recipe(1024, Input(mean=-5.553, std=4.606))}


build = Aves2EatEncoder.build
