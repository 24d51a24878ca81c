"""The encoders, by name. To add one, write a file here and name it in `_FILES`.

Encoders that live elsewhere need no entry: `own` tells of `my_module:MyEncoder`.
"""

import functools
import importlib
import inspect
import os
from types import ModuleType
from typing import Any

from unmute_jax.encoders import own
from unmute_jax.encoders.base import Encoder, Geometry
from unmute_jax.encoders.conversion import EncoderModule, convert
from unmute_jax.encoders.exported import ExportedTokens
from unmute_jax.encoders.precision import PRECISIONS, in_bfloat16
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.weights import loading
from unmute_jax.weights.encoder_weights import EncoderWeights
from unmute_jax.weights.published import find_weights

__all__ = [
    "Encoder",
    "ExportedTokens",
    "Geometry",
    "Source",
    "list_encoders",
    "load_encoder",
    "load_source",
    "with_weights",
]

# Registry name -> module with `ORIGIN`, of its weights, and `build(name, read, ...)`.
# A "+" marks the supervised variant: the same network, other published weights.
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


# Where the tokens of a data set can come from.
Source = Encoder | ExportedTokens
# What a person names by its place: tokens that other code made.
TOKENS = "tokens:"


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
    width: int | None = None,
    depth: int | None = None,
    precision: str = "float32",
    **options: Any,
) -> Encoder:
    """A frozen encoder.

    Args:
        name: One of `list_encoders()`; or `my_module:MyEncoder`, an encoder of your own
            (see `encoders.own`), which gets all that is given as keyword arguments.
        source: A weights file (.pt, .pth, .safetensors) or a folder that holds
            `model.safetensors`. None: the published default, from the cache or the
            network.
        weights: "untrained" for random weights instead of a file.
        seed: Of the untrained weights.
        num_heads: Attention heads, where the file does not say; of untrained weights
            by default as of the published size, or width / 64.
        width: D of untrained weights, 768 by default.
        depth: Blocks of untrained weights, 12 by default.
        precision: Of the products in the network: "float32", or "bfloat16", which is
            faster where the device can multiply so and changes the tokens a little.
        **options: Front-end options of the encoder, see its `build`.

    Raises:
        InputError: An unknown name or option, no weights, or a file that does not fit.
    """
    sizes = {"num_heads": num_heads, "width": width, "depth": depth}
    sizes = {size: value for size, value in sizes.items() if value is not None}
    if name.startswith(TOKENS):
        raise InputError(
            f"{name} are tokens of known clips: there is no encoder for other audio"
        )
    if ":" in name:
        given = {"weights": source or weights, "seed": seed or None}
        if precision != "float32":
            given["precision"] = precision
        given = {option: value for option, value in given.items() if value is not None}
        return own.load(name, **given, **sizes, **options)
    module = _module(name)
    if weights not in (None, "untrained"):
        raise InputError(
            f"weights={weights!r} is not known: give a file as source, or "
            'weights="untrained"'
        )
    if weights and source is not None:
        raise InputError(f'give {source} or weights="untrained", not both')
    _check_options(name, module, {**options, **sizes})
    if precision not in PRECISIONS:
        raise unknown_name(f"precision of encoder {name!r}", precision, PRECISIONS)
    if module.ORIGIN is None:
        if source is not None:
            raise InputError(f"encoder {name!r} has no weights; leave out {source}")
        if precision != "float32":
            raise InputError(f"encoder {name!r} has no products to make {precision}")
        return module.build(name, None, **options)
    if weights is None and (width or depth):
        raise InputError("width and depth are for untrained weights only")

    def read() -> EncoderWeights:
        if weights is None:
            path = find_weights(name, source, functools.partial(convert, module))
            return loading.read(module.ORIGIN, path, num_heads)
        return loading.untrained(module.ORIGIN, seed, **sizes)

    encoder = module.build(name, read, **options)
    return encoder if precision == "float32" else in_bfloat16(encoder)


def load_source(name: str, source: str | None = None, **options: Any) -> Source:
    """Where the tokens of a data set come from: an encoder, or `tokens:PATH`.

    Args:
        name: As `load_encoder` takes it, or the folder of exported tokens (see
            `encoders.exported`).
        source: As of `load_encoder`.
        **options: Likewise.

    Raises:
        InputError: As of `load_encoder` and `ExportedTokens.open`.
    """
    if not name.startswith(TOKENS):
        return load_encoder(name, source, **options)
    given = [*(["weights"] if source else []), *(k for k, v in options.items() if v)]
    if given:
        raise InputError(f"{name} has no options, {given[0]!r} was given")
    return ExportedTokens.open(name.removeprefix(TOKENS))


def with_weights(name: str) -> EncoderModule:
    """The file of an encoder, for those who need nothing but its weights.

    Raises:
        InputError: An unknown name, or an encoder without weights.
    """
    module = _module(name)
    if module.ORIGIN is None:
        raise InputError(f"encoder {name!r} has no weights")
    return module


def _module(name: str) -> Any:
    if name not in _FILES:
        raise unknown_name("encoder", name, [*_FILES, "MODULE:CLASS", "tokens:PATH"])
    return importlib.import_module(f"{__name__}.{_FILES[name]}")


def _check_options(name: str, module: ModuleType, options: dict[str, Any]) -> None:
    known = [
        parameter.name
        for parameter in inspect.signature(module.build).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    if module.ORIGIN is not None:
        known += ["num_heads", "width", "depth"]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of encoder {name!r}", option, known)
