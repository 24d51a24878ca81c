"""Loads encoders by name. To add one, write a file here and enter it in `_FILES`.

Encoders that live elsewhere need no entry. `custom` describes `my_module:MyEncoder`,
`hear_modules` describes `hear:MODULE`, and `xares_encoders` `xares:MODULE:CLASS`.
"""

import functools
import importlib
import inspect
import os
import pathlib
from types import ModuleType
from typing import Any

from unmute_jax.encoders import custom, hear_modules, xares_encoders
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
    "for_dataset",
    "list_encoders",
    "load_encoder",
    "load_source",
    "with_weights",
]

# Name -> module with `ORIGIN`, the source of its weights, and `build(name, read, ...)`.
# A "+" marks the supervised variant: the same network with other published weights.
_FILES = {
    "asit": "asit",
    "ast": "ast",
    "audiomae": "audiomae",
    "audiomae+": "audiomae",
    "aves2_beats": "aves2_beats",
    "aves2_eat": "aves2_eat",
    "bat": "bat",
    "beats": "beats",
    "beats+": "beats",
    "bird_mae": "bird_mae",
    "dasheng": "dasheng",
    "dasheng+": "dasheng",
    "eat": "eat",
    "eat+": "eat",
    "logmel": "logmel",
    "openbeats": "openbeats",
    "sslam": "sslam",
    "sslam+": "sslam",
    "whisper": "whisper",
}

# How encoders are named that live elsewhere.
_ELSEWHERE = ("MODULE:CLASS", "hear:MODULE", "xares:MODULE:CLASS", "tokens:PATH")

# Where the tokens of a data set can come from.
Source = Encoder | ExportedTokens
# Prefix of a folder of tokens that other code has exported.
TOKENS = "tokens:"


def list_encoders() -> list[str]:
    """The names of all encoders that `load_encoder` knows."""
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
    """Loads a frozen encoder.

    Args:
        name: One of `list_encoders()`, or `my_module:MyEncoder`, a custom encoder (see
            `encoders.custom`), which gets all arguments that are given, and so do
            `hear:MODULE[:WEIGHTS]` (see `encoders.hear_modules`) and
            `xares:MODULE:CLASS[:WEIGHTS]` (see `encoders.xares_encoders`).
        source: A weights file (.pt, .pth, .safetensors), or a folder that holds
            `model.safetensors`. None: the published default, from the cache or the
            network.
        weights: "untrained" for random weights instead of a file.
        seed: Seed of the untrained weights.
        num_heads: Number of attention heads, if the file does not state it. For
            untrained weights the default is that of the published size, or width / 64.
        width: D of untrained weights, 768 by default.
        depth: Number of blocks of untrained weights, 12 by default.
        precision: Precision of the products in the network: "float32", or "bfloat16",
            which is faster on devices that support it and changes the tokens a little.
        **options: Front-end options of the encoder, see its `build`.

    Raises:
        InputError: The name or an option is unknown, there are no weights, or the file
            does not fit.
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
        load = custom.load
        if name.startswith(hear_modules.PREFIX):
            load = hear_modules.load
        elif name.startswith(xares_encoders.PREFIX):
            load = xares_encoders.load
        return load(name, **given, **sizes, **options)
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
            raise InputError(f"encoder {name!r} has no network to run in {precision}")
        return module.build(name, **options)
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
    """Loads an encoder, or tokens that other code has exported.

    Args:
        name: A name that `load_encoder` takes, or `tokens:` and a folder of exported
            tokens (see `encoders.exported`).
        source: Weights of the encoder, see `load_encoder`.
        **options: Options of the encoder, see `load_encoder`.

    Raises:
        InputError: `load_encoder` or `ExportedTokens.open` fails, or exported tokens
            are given an option.
    """
    if not name.startswith(TOKENS):
        return load_encoder(name, source, **options)
    given = [*(["weights"] if source else []), *(k for k, v in options.items() if v)]
    if given:
        raise InputError(f"{name} has no options, {given[0]!r} was given")
    return ExportedTokens.open(name.removeprefix(TOKENS))


def for_dataset(name: str, dataset: str) -> str:
    """Fills the place of exported tokens in, where it depends on the data set.

    Args:
        name: The name of an encoder. In `tokens:FOLDER/{dataset}` the placeholder is
            replaced; any other name is returned as it is.
        dataset: The name of the data set as it is given to `load_dataset`. Of a place,
            such as `folder:/data/birds` or `csv:/data/birds.csv`, the last part without
            the suffix of a table is used ("birds").
    """
    if not name.startswith(TOKENS):
        return name
    kind, colon, place = dataset.partition(":")
    if colon:
        path = pathlib.PurePath(place)
        dataset = path.stem if kind == "csv" else path.name
    return name.replace("{dataset}", dataset)


def with_weights(name: str) -> EncoderModule:
    """The module of an encoder that has weights.

    Raises:
        InputError: The name is unknown, or the encoder has no weights.
    """
    module = _module(name)
    if module.ORIGIN is None:
        raise InputError(f"encoder {name!r} has no weights")
    return module


def _module(name: str) -> Any:
    if name not in _FILES:
        raise unknown_name("encoder", name, [*_FILES, *_ELSEWHERE])
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
