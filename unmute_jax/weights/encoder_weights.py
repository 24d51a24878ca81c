"""The weights of an encoder: read from a file of its authors, or drawn at random."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unmute_jax import audioset
from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.vit import HEAD_WIDTH

_BASE = (768, 12)

_log = logging.getLogger(__name__)


@runtime_checkable
class Checkpoints(Protocol):
    """What a module of this folder says of the checkpoints of an encoder.

    Its `Sizes` have at least `width`, `depth` and `classes`, which is None without a
    classification head.
    """

    def canonical(self, content: Any, source: str, /) -> dict[str, np.ndarray]:
        """The tensors of the encoder, from the content of a file of any layout."""
        ...

    def read_sizes(
        self, tensors: Mapping[str, np.ndarray], content: Any, source: str, /
    ) -> Any:
        """The `Sizes` that canonical tensors have."""
        ...

    def choose_heads(
        self, sizes: Any, content: Any, given: int | None, source: str, /
    ) -> int:
        """The attention heads of a file; `given` says so where the file does not."""
        ...

    def base_sizes(self, width: int, depth: int, num_heads: int, /) -> Any:
        """`Sizes` in the proportions of the published base model."""
        ...

    def untrained(self, sizes: Any, seed: int, /) -> dict[str, np.ndarray]:
        """Random canonical tensors."""
        ...

    def to_params(
        self, tensors: Mapping[str, np.ndarray], sizes: Any, source: str, /
    ) -> dict[str, Any]:
        """Parameters of the network from canonical tensors, all of them."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights of an encoder come from.

    Attributes:
        title: Of the encoder, as its authors spell it.
        licence: Of the published weights.
        checkpoints: Reads them.
        published: (width, depth) of published models -> (name, attention heads).
    """

    title: str
    licence: str
    checkpoints: Checkpoints
    published: Mapping[tuple[int, int], tuple[str, int]]

    def size_name(self, sizes: Any) -> str:
        """That of the published model, width x depth where there is none."""
        size = sizes.width, sizes.depth
        name, _ = self.published.get(size, (f"{sizes.width}x{sizes.depth}", None))
        return name


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """The sizes of a network, and parameters that fit it.

    Attributes:
        sizes: The `Sizes` of its checkpoints.
        num_heads: Attention heads.
        classes: Names of the outputs of the head; none without one, or unknown.
        params: A nested dict of float32 arrays.
        description: For people: which weights these are.
        licence: Of the weights.
        identity: "sha256:..." of the file, or how the weights were made.
    """

    sizes: Any
    num_heads: int
    classes: tuple[str, ...]
    params: dict[str, Any]
    description: str
    licence: str
    identity: str


def read(
    origin: Origin, path: pathlib.Path, num_heads: int | None = None
) -> EncoderWeights:
    """The weights in a file; their licence is logged.

    Args:
        origin: Of the encoder.
        path: A file of any layout of its checkpoints.
        num_heads: Attention heads, where the file does not say.

    Raises:
        InputError: The file cannot be read, or holds another network.
    """
    file = read_weights(path)
    source, checkpoints = str(file.path), origin.checkpoints
    tensors = checkpoints.canonical(file.content, source)
    sizes = checkpoints.read_sizes(tensors, file.content, source)
    heads = checkpoints.choose_heads(sizes, file.content, num_heads, source)
    training = "pre-trained" if sizes.classes is None else "fine-tuned"
    weights = EncoderWeights(
        sizes=sizes,
        num_heads=_check_heads(sizes, heads),
        classes=audioset.head_names(sizes.classes, _labels(file.content), source),
        params=checkpoints.to_params(tensors, sizes, source),
        description=f"{_title(origin, sizes)}, {training}, {file.path.name}",
        licence=origin.licence,
        identity=f"sha256:{file.sha256}",
    )
    _log.warning("%s; licence of the weights: %s", weights.description, origin.licence)
    return weights


def untrained(
    origin: Origin,
    seed: int,
    *,
    width: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
) -> EncoderWeights:
    """Random weights, the same on every device.

    Args:
        origin: Of the encoder.
        seed: Of the numbers.
        width: D, 768 by default.
        depth: Blocks, 12 by default.
        num_heads: By default those of the published size, or width / 64.

    Raises:
        InputError: Sizes that do not fit each other.
    """
    size = (width or _BASE[0], depth or _BASE[1])
    _, usual = origin.published.get(size, (None, size[0] // HEAD_WIDTH))
    heads = num_heads or usual
    sizes = origin.checkpoints.base_sizes(*size, heads)
    made = f"untrained (seed {seed})"
    return EncoderWeights(
        sizes=sizes,
        num_heads=_check_heads(sizes, heads),
        classes=(),
        params=origin.checkpoints.to_params(
            origin.checkpoints.untrained(sizes, seed), sizes, made
        ),
        description=f"{_title(origin, sizes)}, {made}",
        licence=origin.licence,
        identity=made,
    )


def _labels(content: Any) -> Any:
    """Output -> identifier of its class, where the file lists them as BEATs does."""
    return content.get("label_dict") if isinstance(content, Mapping) else None


def _check_heads(sizes: Any, heads: int) -> int:
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"width {sizes.width} cannot be split into {heads} heads: give num_heads"
        )
    return heads


def _title(origin: Origin, sizes: Any) -> str:
    return f"{origin.title}-{origin.size_name(sizes)}"
