"""Loading the weights of an encoder: from a file, converted or not, or at random."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from unmute_jax.datasets import audioset_labels
from unmute_jax.errors import InputError, one_line
from unmute_jax.weights import converted
from unmute_jax.weights.encoder_weights import (
    EncoderWeights,
    Origin,
    check_heads,
    describe,
)
from unmute_jax.weights.files import WeightsFile, let_go, read_weights
from unmute_jax.weights.mapping import Leaf
from unmute_jax.weights.vit import HEAD_WIDTH

_BASE = (768, 12)

_log = logging.getLogger(__name__)


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
    weights = from_file(origin, read_weights(path), num_heads)
    _log.warning("%s; licence of the weights: %s", weights.description, origin.licence)
    return weights


def from_file(
    origin: Origin, file: WeightsFile, num_heads: int | None = None
) -> EncoderWeights:
    """The weights in a file that is open; as `read`."""
    try:
        if converted.is_converted(file):
            return converted.read(origin, file, num_heads)
        return _foreign(origin, file, num_heads)
    except InputError as error:
        # Names in the files of others may be long, and hold line breaks.
        raise InputError(one_line(str(error))) from error


def _foreign(
    origin: Origin, file: WeightsFile, num_heads: int | None
) -> EncoderWeights:
    source, checkpoints = str(file.path), origin.checkpoints
    found = checkpoints.canonical(file.content, source)
    sizes = checkpoints.read_sizes(found.tensors, file.content, source)
    heads = checkpoints.choose_heads(sizes, file.content, num_heads, source)
    # Looks at the shapes at once, at the numbers when they are asked for.
    checkpoints.leaves(found.tensors, sizes, source)

    def leaves() -> Iterator[Leaf]:
        for leaf in checkpoints.leaves(found.tensors, sizes, source):
            yield leaf
            let_go(next(iter(found.tensors.values())))

    return EncoderWeights(
        sizes=sizes,
        num_heads=check_heads(sizes, heads),
        classes=audioset_labels.head_names(
            sizes.classes, _labels(file.content), source
        ),
        leaves=leaves,
        description=describe(origin, sizes, file.path.name),
        licence=origin.licence,
        identity=f"sha256:{file.sha256}",
        layout=found.layout,
        used=len(found.tensors),
        ignored=found.ignored,
    )


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

    def leaves() -> Iterator[Leaf]:
        tensors = origin.checkpoints.untrained(sizes, seed)
        return origin.checkpoints.leaves(tensors, sizes, made)

    return EncoderWeights(
        sizes=sizes,
        num_heads=check_heads(sizes, heads),
        classes=(),
        leaves=leaves,
        description=f"{origin.title_of(sizes)}, {made}",
        licence=origin.licence,
        identity=made,
    )


def _labels(content: Any) -> Any:
    """Output -> identifier of its class, where the file lists them as BEATs does."""
    return content.get("label_dict") if isinstance(content, Mapping) else None
