"""Data sets: prepared once by one builder each, then read by index."""

import functools
import importlib
import inspect
import os
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from unmute_jax.datasets.clips import Clip, ClipSource
from unmute_jax.datasets.counting import only_counting
from unmute_jax.datasets.dataset import Dataset, Protocol
from unmute_jax.errors import InputError, unknown_name

if TYPE_CHECKING:
    from unmute_jax.datasets.info import DatasetInfo

__all__ = [
    "Clip",
    "ClipSource",
    "Dataset",
    "Protocol",
    "count_dataset",
    "dataset_infos",
    "list_datasets",
    "load_dataset",
]

# The module of each data set, what makes its builder there, and the first arguments of
# that. Modules are imported on demand, because TFDS takes half a second to import.
_BUILDERS: dict[str, tuple[Any, ...]] = {
    "as20k": ("as20k", "AudioSet"),
    "as20k/segments": ("as20k", "AudioSetSegments"),
    "desed": ("desed", "Desed", "desed"),
    "desed/fl": ("desed", "Desed", "desed/fl"),
    "esc10": ("esc50", "esc10"),
    "esc50": ("esc50", "esc50"),
    "esc50/esc10": ("esc50", "esc10"),
    "esc_mix": ("esc_mix", "esc_mix"),
    "fsd50k": ("fsd50k", "Fsd50k"),
    "fsdd": ("fsdd", "Fsdd"),
    "sc2": ("sc2", "SpeechCommands"),
    "sc2/twelve": ("sc2", "TwelveCommands"),
    "spass": ("spass", "Spass", None),
    "spass/market": ("spass", "Spass", "market"),
    "spass/park": ("spass", "Spass", "park"),
    "spass/square": ("spass", "Spass", "square"),
    "spass/street": ("spass", "Spass", "street"),
    "spass/waterfront": ("spass", "Spass", "waterfront"),
    "urban": ("urban", "UrbanSed"),
}
for _subset in ("HSN", "NBP", "NES", "PER", "POW", "SNE", "UHH"):
    _BUILDERS[_subset.lower()] = ("birdset", "BirdSet", _subset, 0)
    _BUILDERS[f"{_subset.lower()}/64shot"] = ("birdset", "BirdSet", _subset, 64)
# What is named by its place, such as "folder:PATH": module, and what makes the builder.
_PLACES = {
    "annotations": ("annotations.builder", "annotated"),
    "csv": ("own_files", "table"),
    "folder": ("own_files", "folder"),
    "hf": ("hugging_face", "hugging_face"),
    "wds": ("webdataset", "webdataset"),
}


def list_datasets() -> list[str]:
    """Returns the names of all data sets; `esc50/esc10` is another name of `esc10`."""
    return sorted(_BUILDERS)


def dataset_infos() -> "list[DatasetInfo]":
    """Returns the descriptions of all data sets, without reading their files."""
    names = dict.fromkeys(module for module, *_ in _BUILDERS.values())
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [info for module in modules for info in module.INFOS]


def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: str = "fail",
    **options: Any,
) -> Dataset:
    """Opens a data set, after preparing it if that was not done before.

    The prepared data set is kept in the cache (see `unmute_jax.io`), in a folder named
    by a hash of everything that determines its content. The next call with the same
    arguments only opens it.

    Args:
        name: One of `list_datasets`, `folder:PATH` (one sub-folder per class) or
            `csv:PATH` (a table with the columns file and labels; see `own_files`),
            `annotations:PATH` (annotated recordings; see `annotations.builder`),
            `hf:OWNER/NAME` or `hf:PATH` (tables of Hugging Face; see `hugging_face`),
            or `wds:PATTERN` (tar archives; see `webdataset`).
        data_dir: Place of the original files in their published layout: a folder, the
            folder around it, or the archive. By default they are searched in the cache;
            some data sets are downloaded if they are not there.
        on_bad: Treatment of clips that cannot be read: "fail" stops the preparation,
            "skip" leaves them out and counts them in the notes.
        **options: Options of this data set.

    Raises:
        InputError: The name or an option is unknown, files are missing, or a clip
            cannot be read.
    """
    return _builder(name, data_dir, on_bad, options).dataset()


def count_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: str = "fail",
    **options: Any,
) -> Dataset:
    """Opens a data set as `load_dataset` does, but prepares and fetches nothing.

    If it is not prepared yet, its clips are counted in listings and tables, and cannot
    be read.

    Args:
        name: See `load_dataset`.
        data_dir: See `load_dataset`.
        on_bad: See `load_dataset`.
        **options: See `load_dataset`.

    Raises:
        InputError: See `load_dataset`.
        NotHereError: Files would have to be downloaded or unpacked first.
    """
    with only_counting():
        return _builder(name, data_dir, on_bad, options).counted()


def _builder(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    on_bad: str,
    options: Mapping[str, Any],
) -> Any:
    """Makes the builder of a data set."""
    if on_bad not in ("fail", "skip"):
        raise unknown_name("on_bad", on_bad, ("fail", "skip"))
    kind, _, place = name.partition(":")
    if place and kind in _PLACES:
        module, function, *arguments = *_PLACES[kind], place
    elif name in _BUILDERS:
        module, function, *arguments = _BUILDERS[name]
    else:
        raise _unknown(name)
    code = importlib.import_module(f"{__name__}.{module}")
    make = functools.partial(getattr(code, function), *arguments)
    checked = _checked_options(name, make, options)
    return make(data_dir=data_dir, on_bad=on_bad, **checked)


def _unknown(name: str) -> InputError:
    """Returns the error for an unknown data set, which may be a place without kind."""
    path = os.path.expanduser(name)
    is_known = name.casefold() in _BUILDERS
    if os.path.isdir(path) and not is_known:
        return InputError(
            f"unknown dataset {name!r}: it is a folder; folder:{name} reads it if it "
            "has one sub-folder per class, annotations:, hf: and wds: read others"
        )
    if os.path.isfile(path) and not is_known:
        return InputError(
            f"unknown dataset {name!r}: it is a file; csv:{name} reads a table of "
            f"clips, annotations:{name} one of events in long recordings, wds: a tar "
            "archive"
        )
    known = [*_BUILDERS, *(f"{kind}:PATH" for kind in _PLACES)]
    return unknown_name("dataset", name, known)


def _checked_options(
    name: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Compares options with the keyword-only parameters of what makes the builder."""
    known = {
        key: typing.get_args(parameter.annotation) or (parameter.annotation,)
        for key, parameter in inspect.signature(make, eval_str=True).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    checked = dict(options)
    for key, value in options.items():
        if not known:
            raise InputError(f"dataset {name!r} has no options, {key!r} was given")
        if key not in known:
            raise unknown_name(f"option of dataset {name!r}", key, known)
        if type(value) is int and float in known[key]:
            checked[key] = float(value)
        elif not isinstance(value, known[key]):
            kinds = " or ".join(k.__name__ for k in known[key] if k is not type(None))
            raise InputError(
                f"option {key!r} of dataset {name!r} is {value!r}, not of type {kinds}"
            )
    return checked
