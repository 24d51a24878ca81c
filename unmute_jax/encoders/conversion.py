"""Converting the weights of an encoder: from a file of others to one of ours."""

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
    """What a file of the registry with weights has."""

    ORIGIN: Origin
    build: Callable[..., Encoder]


def convert(
    module: EncoderModule,
    source: pathlib.Path,
    output: pathlib.Path,
    num_heads: int | None = None,
) -> EncoderWeights:
    """Writes the weights in a file of others as one of ours.

    Args:
        module: Of the encoder.
        source: In any layout of its checkpoints.
        output: Replaced if it is there already.
        num_heads: Attention heads, where the file does not say.

    Returns:
        What was written.

    Raises:
        InputError: The file cannot be read, or holds another network, or is converted
            already.
        OSError: The output cannot be written.
    """
    file = read_weights(source)
    if converted.is_converted(file):
        raise InputError(f"{source} is converted already: load it as it is")
    weights = loading.from_file(module.ORIGIN, file, num_heads)
    front_end = _front_end(module, weights)
    metadata = converted.facts(module.ORIGIN, weights, file, front_end)
    converted.write(output, weights, metadata)
    return weights


def _front_end(module: EncoderModule, weights: EncoderWeights) -> dict[str, Any]:
    """The options and constants of the front end by default."""
    without_params = dataclasses.replace(weights, leaves=lambda: iter(()))
    encoder = module.build(module.ORIGIN.name, lambda: without_params)
    details = encoder.details()
    return {k: v for k, v in details.items() if k not in ("sizes", "num_heads")}
