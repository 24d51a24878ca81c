"""Encoders that are a ViT over log-mel patches: what sets each apart.

To add one: a `Family` in a file of its own, and `build = functools.partial(build, it)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from unmute_jax.encoders.framing import Framing
from unmute_jax.encoders.vit_encoder import FBANK, Input, VitEncoder
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.errors import unknown_name
from unmute_jax.weights.encoder_weights import EncoderWeights
from unmute_jax.weights.vit import PATCH

# (width, depth) -> (name, attention heads).
PUBLISHED_SIZES = {(768, 12): ("base", 12), (1024, 24): ("large", 16)}


class Recipe(NamedTuple):
    """What the reference does with the clips of a data set.

    Attributes:
        target_frames: Length of the input; 100 frames are a second.
        input: Its padding and normalisation.
    """

    target_frames: int
    input: Input


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What sets an encoder apart from the others of this file.

    Attributes:
        encoder: The class of its encoders.
        networks: The classes of their networks, by how the stored positions become
            those of another length; the first is that of the authors.
        recipes: Lengths and constants of the reference, by the name of their data.
    """

    encoder: type[VitEncoder]
    networks: Mapping[str, type[VitNetwork]]
    recipes: Mapping[str, Recipe]


def build(
    family: Family,
    name: str,
    read: Callable[[], EncoderWeights],
    *,
    recipe: str = "audioset",
    length_policy: str = "pad",
    target_frames: int | None = None,
    mean: float | None = None,
    std: float | None = None,
    positions: str | None = None,
    mask_padding: bool = False,
) -> VitEncoder:
    """An encoder with the weights that `read` gives.

    Args:
        family: Of the encoder.
        name: As in the registry.
        read: Called when the options are known to be right.
        recipe: One of `family.recipes`: length and constants of the input.
        length_policy: What becomes of clips of other lengths, see `framing`; the
            reference always pads or crops.
        target_frames: Overrides those of the recipe.
        mean: Likewise.
        std: Likewise.
        positions: One of `family.networks`; None, the first.
        mask_padding: Whether time steps without a real frame are masked.

    Raises:
        InputError: An unknown recipe, policy or `positions`, a target that the network
            does not take, or of `read`.
    """
    if recipe not in family.recipes:
        raise unknown_name(f"recipe of encoder {name!r}", recipe, family.recipes)
    positions = positions or next(iter(family.networks))
    if positions not in family.networks:
        raise unknown_name(f"positions of encoder {name!r}", positions, family.networks)
    wanted = family.recipes[recipe]
    framing = Framing(
        filters=FBANK,
        patch_frames=PATCH,
        frames_per_step=PATCH,
        policy=length_policy,
        target_frames=wanted.target_frames if target_frames is None else target_frames,
    )
    given = {"mean": mean, "std": std}
    overrides = {key: value for key, value in given.items() if value is not None}
    weights = read()
    return family.encoder(
        name=name,
        description=weights.description,
        licence=weights.licence,
        weights=weights.identity,
        params=weights.params,
        classes=weights.classes,
        mask_padding=mask_padding,
        positions=positions,
        network=family.networks[positions](
            sizes=weights.sizes, num_heads=weights.num_heads
        ),
        framing=framing,
        input=dataclasses.replace(wanted.input, **overrides),
    )
