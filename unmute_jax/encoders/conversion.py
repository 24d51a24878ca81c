"""Converts a published weights file to the format of this package."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from unmute_jax.encoders.base import Encoder
from unmute_jax.errors import InputError
from unmute_jax.weights import converted, loading
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.files import read_weights


@runtime_checkable
class EncoderModule(Protocol):
    """A module of the registry whose encoder has weights."""

    ORIGIN: Origin
    build: Callable[..., Encoder]


def convert(
    module: EncoderModule,
    source: pathlib.Path,
    output: pathlib.Path,
    num_heads: int | None = None,
) -> EncoderWeights:
    """Converts a published weights file.

    Args:
        module: The module of the encoder.
        source: A file in any layout of the encoder's checkpoints.
        output: The file to write; an existing one is replaced.
        num_heads: Number of attention heads, if the file does not state it.

    Returns:
        The weights that were written.

    Raises:
        InputError: The file cannot be read, holds another network, or is converted
            already.
        OSError: The output cannot be written.
    """
    file = read_weights(source)
    if converted.is_converted(file):
        raise InputError(f"{source} is converted already: load it as it is")
    weights = loading.from_file(module.ORIGIN, file, num_heads)
    front_end = _front_end(module, weights)
    metadata = converted.metadata_of(module.ORIGIN, weights, file, front_end)
    converted.write(output, weights, metadata)
    return weights


def _front_end(module: EncoderModule, weights: EncoderWeights) -> dict[str, Any]:
    """The default options and the constants of the front end."""
    without_params = dataclasses.replace(weights, leaves=lambda: iter(()))
    encoder = module.build(module.ORIGIN.name, lambda: without_params)
    details = encoder.details()
    return {k: v for k, v in details.items() if k not in ("sizes", "num_heads")}
