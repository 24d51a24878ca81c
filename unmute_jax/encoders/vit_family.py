"""Loading encoders that are a ViT over log-mel patches: what sets each apart.

To add one: a `Family` in a file of its own, and `load = functools.partial(load, it)`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from unmute_jax.encoders.base import Params
from unmute_jax.encoders.vit_encoder import Input, VitEncoder
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.published import find_weights
from unmute_jax.weights.vit import PATCH, Sizes

HEAD_WIDTH = 64

_log = logging.getLogger(__name__)


@runtime_checkable
class Checkpoints(Protocol):
    """What a module of `unmute_jax.weights` says of the checkpoints of a family."""

    def canonical(self, content: Any, source: str, /) -> dict[str, np.ndarray]:
        """The tensors of the encoder, from the content of a file of any layout."""
        ...

    def read_num_heads(self, content: Any, /) -> int | None:
        """The number of heads, where the file states it."""
        ...

    def read_sizes(self, tensors: Mapping[str, np.ndarray], source: str, /) -> Sizes:
        """The sizes that canonical tensors have."""
        ...

    def base_sizes(self, *, width: int, depth: int) -> Sizes:
        """Sizes in the proportions of the published base model."""
        ...

    def untrained(self, sizes: Sizes, seed: int, /) -> dict[str, np.ndarray]:
        """Random canonical tensors."""
        ...

    def to_params(
        self, tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str, /
    ) -> Params:
        """Parameters of the network from canonical tensors, all of them."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What sets an encoder apart from the others of this file.

    Attributes:
        title: As its authors spell it.
        encoder: The class of its encoders.
        network: The class of their networks.
        checkpoints: Reads its weights.
        recipes: Lengths and constants of the reference, by the name of their data.
        licence: Of the published weights.
    """

    title: str
    encoder: type[VitEncoder]
    network: type[VitNetwork]
    checkpoints: Checkpoints
    recipes: Mapping[str, Input]
    licence: str


def load(
    family: Family,
    name: str,
    source: str | os.PathLike[str] | None,
    untrained_seed: int | None,
    *,
    recipe: str = "audioset",
    target_frames: int | None = None,
    mean: float | None = None,
    std: float | None = None,
    mask_padding: bool = False,
    num_heads: int | None = None,
    width: int | None = None,
    depth: int | None = None,
) -> VitEncoder:
    """An encoder with the weights of a file, the published ones, or untrained.

    The licence of weights that are read is logged.

    Args:
        family: Of the encoder.
        name: As in the registry.
        source: The file; None, the published one.
        untrained_seed: Makes random weights instead.
        recipe: One of `family.recipes`: length and constants of the input.
        target_frames: Overrides those of the recipe; 100 frames are a second.
        mean: Likewise.
        std: Likewise.
        mask_padding: Whether time steps without a real frame are masked.
        num_heads: Where the file does not say; by default width / 64.
        width: D of untrained weights, 768 by default.
        depth: Blocks of untrained weights, 12 by default.

    Raises:
        InputError: An unknown recipe, or sizes that do not fit each other.
    """
    if recipe not in family.recipes:
        raise unknown_name(f"recipe of encoder {name!r}", recipe, family.recipes)
    given = {"target_frames": target_frames, "mean": mean, "std": std}
    overrides = {key: value for key, value in given.items() if value is not None}
    wanted = dataclasses.replace(family.recipes[recipe], **overrides)
    if wanted.target_frames < PATCH:
        raise InputError(
            f"target_frames must be at least {PATCH}, not {wanted.target_frames}"
        )
    if untrained_seed is None:
        if width or depth:
            raise InputError("width and depth are for untrained weights only")
        made = _read(family, name, source, num_heads)
    else:
        sizes = family.checkpoints.base_sizes(width=width or 768, depth=depth or 12)
        made = _untrained(family, sizes, num_heads, untrained_seed)
    description = f"{family.title}-{_size_name(made.network.sizes)}, {made.origin}"
    if untrained_seed is None:
        _log.warning("%s; licence of the weights: %s", description, family.licence)
    return family.encoder(
        name=name,
        description=description,
        licence=family.licence,
        weights=made.identity,
        params=jax.device_put(made.params),
        mask_padding=mask_padding,
        network=made.network,
        input=wanted,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Weights:
    """A network and parameters that fit it; where they are from."""

    network: VitNetwork
    params: Params
    origin: str
    identity: str


def _read(
    family: Family,
    name: str,
    source: str | os.PathLike[str] | None,
    num_heads: int | None,
) -> _Weights:
    file = read_weights(find_weights(name, source))
    path, checkpoints = str(file.path), family.checkpoints
    tensors = checkpoints.canonical(file.content, path)
    sizes = checkpoints.read_sizes(tensors, path)
    num_heads = num_heads or checkpoints.read_num_heads(file.content)
    training = "pre-trained" if sizes.classes is None else "fine-tuned"
    return _Weights(
        network=_network(family, sizes, num_heads),
        params=checkpoints.to_params(tensors, sizes, path),
        origin=f"{training}, {file.path.name}",
        identity=f"sha256:{file.sha256}",
    )


def _untrained(
    family: Family, sizes: Sizes, num_heads: int | None, seed: int
) -> _Weights:
    origin = f"untrained (seed {seed})"
    tensors = family.checkpoints.untrained(sizes, seed)
    return _Weights(
        network=_network(family, sizes, num_heads),
        params=family.checkpoints.to_params(tensors, sizes, origin),
        origin=origin,
        identity=origin,
    )


def _network(family: Family, sizes: Sizes, num_heads: int | None) -> VitNetwork:
    heads = num_heads or sizes.width // HEAD_WIDTH
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"width {sizes.width} cannot be split into {heads} heads: give num_heads"
        )
    return family.network(sizes=sizes, num_heads=heads)


def _size_name(sizes: Sizes) -> str:
    """Base, large, or width x depth where there is no name."""
    known = {(768, 12): "base", (1024, 24): "large"}
    return known.get((sizes.width, sizes.depth), f"{sizes.width}x{sizes.depth}")
