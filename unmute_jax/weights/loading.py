"""Loads the weights of an encoder from a file, or makes random ones."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from unmute_jax import distributed
from unmute_jax.console import size_text
from unmute_jax.datasets import audioset_labels
from unmute_jax.errors import InputError, one_line
from unmute_jax.weights import converted
from unmute_jax.weights.checkpoints import HEAD_WIDTH
from unmute_jax.weights.encoder_weights import (
    EncoderWeights,
    Origin,
    check_heads,
    describe,
)
from unmute_jax.weights.files import WeightsFile, read_weights, release_pages
from unmute_jax.weights.inert import lookup
from unmute_jax.weights.mapping import Leaf

_BASE = (768, 12)

_log = logging.getLogger(__name__)


def read(
    origin: Origin, path: pathlib.Path, num_heads: int | None = None
) -> EncoderWeights:
    """Reads the weights in a file, and logs their licence.

    Args:
        origin: Origin of the encoder.
        path: File of any layout of its checkpoints.
        num_heads: Number of attention heads, if the file does not state it.

    Raises:
        InputError: The file cannot be read, or holds another network.
    """
    weights = from_file(origin, read_weights(path), num_heads)
    _log.warning("%s; licence of the weights: %s", weights.description, origin.licence)
    return weights


def from_file(
    origin: Origin, file: WeightsFile, num_heads: int | None = None
) -> EncoderWeights:
    """Returns the weights in a file that is read already; otherwise as `read`."""
    try:
        if converted.is_converted(file):
            return converted.read(origin, file, num_heads)
        return _from_checkpoint(origin, file, num_heads)
    except InputError as error:
        # Names in foreign files may be long, and hold line breaks.
        message, source = one_line(str(error)), str(file.path)
        if source not in message:
            message = f"{source}: {message}"
        raise InputError(message) from error


def _from_checkpoint(
    origin: Origin, file: WeightsFile, num_heads: int | None
) -> EncoderWeights:
    source, checkpoints = str(file.path), origin.checkpoints
    found = checkpoints.find_tensors(file.content, source)
    sizes = checkpoints.read_sizes(found)
    heads = checkpoints.choose_heads(found, sizes, num_heads)
    # This checks the shapes at once; the numbers are read when they are asked for.
    checkpoints.leaves(found.tensors, sizes, source)

    def leaves() -> Iterator[Leaf]:
        for leaf in checkpoints.leaves(found.tensors, sizes, source):
            yield leaf
            release_pages(next(iter(found.tensors.values())))
        file.check_unchanged()

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
    """Makes random weights, the same on every device.

    Args:
        origin: Origin of the encoder.
        seed: Seed of the random numbers.
        width: D; by default 768.
        depth: Number of blocks; by default 12.
        num_heads: Number of attention heads; by default that of the published model of
            this size, or width / 64.

    Raises:
        InputError: The sizes do not fit each other, or the weights not into memory.
    """
    size = (width or _BASE[0], depth or _BASE[1])
    # A block has four maps from D to D, and two between D and its fourfold, in float32.
    needed, free = 4 * 12 * size[0] ** 2 * size[1], distributed.host_memory()
    if needed > free:
        raise InputError(
            f"width={size[0]:,} and depth={size[1]:,} make {size_text(needed)} of "
            f"weights, and {size_text(free)} of memory are free: lower "
            "config.encoder_options"
        )
    _, usual = origin.published.get(size, (None, size[0] // HEAD_WIDTH))
    heads = num_heads or usual
    sizes = origin.checkpoints.base_sizes(*size, heads)
    identity = f"untrained (seed {seed})"

    def leaves() -> Iterator[Leaf]:
        tensors = origin.checkpoints.untrained(sizes, seed)
        return origin.checkpoints.leaves(tensors, sizes, identity)

    return EncoderWeights(
        sizes=sizes,
        num_heads=check_heads(sizes, heads),
        classes=(),
        leaves=leaves,
        description=f"{origin.title_of(sizes)}, {identity}",
        licence=origin.licence,
        identity=identity,
    )


def _labels(content: Any) -> Any:
    """Output -> name or identifier of its class, where the file lists them.

    BEATs lists them beside its tensors, files of Hugging Face in the configuration.
    """
    if not isinstance(content, Mapping):
        return None
    named = lookup(content, "config", "id2label")
    if isinstance(named, Mapping) and "LABEL_0" not in named.values():
        return named
    return content.get("label_dict")
