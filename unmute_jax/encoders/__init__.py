"""The encoders, by name. To add one, write a file here and name it in `_FILES`."""

import importlib
import inspect
import os
from typing import Any

from unmute_jax.encoders.base import Encoder, Geometry
from unmute_jax.errors import InputError, unknown_name

__all__ = ["Encoder", "Geometry", "list_encoders", "load_encoder"]

# Registry name -> module with `load(name, source, ...)`. A "+" marks the supervised
# variant: the same network, other published weights.
_FILES = {
    "asit": "asit",
    "audiomae": "audiomae",
    "audiomae+": "audiomae",
    "beats": "beats",
    "beats+": "beats",
    "dasheng": "dasheng",
    "dasheng+": "dasheng",
    "eat": "eat",
    "eat+": "eat",
    "logmel": "logmel",
    "sslam": "sslam",
    "sslam+": "sslam",
}


def list_encoders() -> list[str]:
    """The names that `load_encoder` knows."""
    return sorted(_FILES)


def load_encoder(
    name: str,
    source: str | os.PathLike[str] | None = None,
    *,
    weights: str | None = None,
    seed: int = 0,
    num_heads: int | None = None,
    **options: Any,
) -> Encoder:
    """A frozen encoder.

    Args:
        name: One of `list_encoders()`.
        source: A weights file (.pt, .pth, .safetensors) or a folder that holds
            `model.safetensors`. None: the published default, from the cache or the
            network.
        weights: "untrained" for random weights instead of a file.
        seed: Of the untrained weights.
        num_heads: Attention heads, where the file does not say.
        **options: Front-end options of the encoder, see its `load`.

    Raises:
        InputError: An unknown name or option, no weights, or a file that does not fit.
    """
    if name not in _FILES:
        raise unknown_name("encoder", name, _FILES)
    if weights not in (None, "untrained"):
        raise InputError(
            f"weights={weights!r} is not known: give a file as source, or "
            'weights="untrained"'
        )
    if weights and source is not None:
        raise InputError(f'give {source} or weights="untrained", not both')
    load = importlib.import_module(f"{__name__}.{_FILES[name]}").load
    if num_heads is not None:
        options["num_heads"] = num_heads
    known = [
        parameter.name
        for parameter in inspect.signature(load).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of encoder {name!r}", option, known)
    return load(name, source, untrained_seed=seed if weights else None, **options)
