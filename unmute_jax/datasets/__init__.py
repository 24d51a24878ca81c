"""Data sets: one builder each, prepared once, read by index."""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from unmute_jax.datasets.dataset import Clip, ClipSource, Dataset, Protocol
from unmute_jax.errors import InputError, unknown_name

if TYPE_CHECKING:
    from unmute_jax.datasets.info import DatasetInfo

__all__ = [
    "Clip",
    "ClipSource",
    "Dataset",
    "Protocol",
    "all_facts",
    "list_datasets",
    "load_dataset",
]

# Name -> (module, function that makes the builder, its first arguments). A module is
# imported when one of its data sets is loaded, because TFDS takes half a second.
_BUILDERS: dict[str, tuple[Any, ...]] = {
    "as20k": ("as20k", "as20k"),
    "as20k/segments": ("as20k", "segments"),
    "desed": ("desed", "desed"),
    "desed/fl": ("desed", "fl"),
    "esc10": ("esc50", "esc10"),
    "esc50": ("esc50", "esc50"),
    "esc50/esc10": ("esc50", "esc10"),
    "esc_mix": ("esc_mix", "esc_mix"),
    "fsd50k": ("fsd50k", "fsd50k"),
    "fsdd": ("fsdd", "fsdd"),
    "sc2": ("sc2", "sc2"),
    "sc2/twelve": ("sc2", "twelve"),
    "spass": ("spass", "spass", None),
    "spass/market": ("spass", "spass", "market"),
    "spass/park": ("spass", "spass", "park"),
    "spass/square": ("spass", "spass", "square"),
    "spass/street": ("spass", "spass", "street"),
    "spass/waterfront": ("spass", "spass", "waterfront"),
    "urban": ("urban", "urban"),
}
_BIRDSET = ("HSN", "NBP", "NES", "PER", "POW", "SNE", "UHH")
_BUILDERS.update({s.lower(): ("birdset", "birdset", s, 0) for s in _BIRDSET})
_BUILDERS.update(
    {f"{s.lower()}/64shot": ("birdset", "birdset", s, 64) for s in _BIRDSET}
)
# What a person names by its place: "folder:PATH" and "csv:PATH".
_OWN = {"folder": "folder", "csv": "table"}


def list_datasets() -> list[str]:
    """The names `load_dataset` knows (`esc50/esc10` and `esc10` are the same)."""
    return sorted(_BUILDERS)


def all_facts() -> "list[DatasetInfo]":
    """What is known of every data set before its files are read."""
    modules = dict.fromkeys(module for module, *_ in _BUILDERS.values())
    code = [importlib.import_module(f"unmute_jax.datasets.{name}") for name in modules]
    return [facts for module in code for facts in module.FACTS]


def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: str = "fail",
    **options: Any,
) -> Dataset:
    """Finds a data set, prepares it if that was not done before, and opens it.

    What is prepared lies in the cache (`unmute_jax.io`) under a hash of all that
    determines its content; the next call with the same arguments only opens it.

    Args:
        name: See `list_datasets`; or `folder:PATH` (a sub-folder per class) or
            `csv:PATH` (a file with columns file and labels), see `own_files`.
        data_dir: Where the original files are, in the layout in which they are
            published: a folder, its parent, or the archive. By default they are looked
            for in the cache; what happens then is up to the data set.
        on_bad: A clip that cannot be read stops the preparation ("fail") or is left
            out and counted in the notes ("skip").
        **options: Of this data set.

    Raises:
        InputError: An unknown name or option, files that are not there, or a bad clip.
    """
    if on_bad not in ("fail", "skip"):
        raise unknown_name("on_bad", on_bad, ("fail", "skip"))
    kind, _, place = name.partition(":")
    if place and kind in _OWN:
        own_files = importlib.import_module("unmute_jax.datasets.own_files")
        make = functools.partial(getattr(own_files, _OWN[kind]), place)
        _check_options(name, make, options)
        return make(data_dir=data_dir, on_bad=on_bad).dataset()
    if name not in _BUILDERS:
        raise unknown_name("dataset", name, [*_BUILDERS, *(f"{k}:PATH" for k in _OWN)])
    module, function, *arguments = _BUILDERS[name]
    code = importlib.import_module(f"unmute_jax.datasets.{module}")
    make = functools.partial(getattr(code, function), *arguments)
    _check_options(name, make, options)
    return make(data_dir=data_dir, on_bad=on_bad, **options).dataset()


def _check_options(
    name: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    """Compares the options with the keyword-only parameters of a builder's maker."""
    known = {
        key: type(parameter.default)
        for key, parameter in inspect.signature(make).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for key, value in options.items():
        if not known:
            raise InputError(f"dataset {name!r} has no options, {key!r} was given")
        if key not in known:
            raise unknown_name(f"option of dataset {name!r}", key, known)
        if not isinstance(value, known[key]):
            raise InputError(
                f"option {key!r} of dataset {name!r} is {value!r}, "
                f"not of type {known[key].__name__}"
            )
