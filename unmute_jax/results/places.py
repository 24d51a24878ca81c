"""Leaves the places of files on one machine out of what is published.

A path tells the names of people and of machines. Records, trained probes and reports
therefore name a data set or weights, and not where they lie. The file `config.json` in
the folder of a run has the places; it is not meant to be published.
"""

from __future__ import annotations

import functools
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from unmute_jax.results.typed_json import DamagedFile, read_object
from unmute_jax.weights.published_list import PUBLISHED

# Settings that may be places. Before a colon there may be the kind of a data set.
_PLACES = ("dataset", "encoder", "weights", "data_dir", "dataset_options.species_list")
_log = logging.getLogger(__name__)


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings in which absolute paths are replaced by the name of the file.

    Relative paths stay. An absolute `data_dir` is left out, as a data set of the
    registry has a name already.

    Args:
        settings: The settings of an experiment, as `Experiment.to_dict` returns them.
    """
    return _replaced(settings, _public)


def with_places(settings: Mapping[str, Any], probe: pathlib.Path) -> dict[str, Any]:
    """Returns settings with the places that the run's own settings have.

    Args:
        settings: The settings that the file of a trained probe holds.
        probe: Path of the trained probe. If it lies in the folder of a run, the
            `config.json` there tells the places.
    """
    config = probe.absolute().parent.parent / "config.json"
    if probe.absolute().parent.name != "probes" or not config.is_file():
        return dict(settings)
    try:
        local = read_object(config, "the config of a run")
    except DamagedFile as error:
        _log.warning("%s: it does not tell where data and weights are", error)
        return dict(settings)

    def found(key: str, value: str) -> str:
        own = _value(local, key)
        return own if isinstance(own, str) and _public(key, own) == value else value

    return _replaced(settings, found)


def hide_places(text: str, settings: Mapping[str, Any]) -> str:
    """Returns a message in which files have no folders of this machine in their names.

    Args:
        text: The message.
        settings: The settings of the experiment that it is about.
    """
    folders = {
        _path_in(_value(settings, key) or "").rpartition("/")[0] for key in _PLACES
    }
    home = str(pathlib.Path.home())
    for folder in sorted({f for f in folders if _is_local(f)}, key=len, reverse=True):
        for written in (folder, str(pathlib.Path(folder).expanduser())):
            text = text.replace(f"{written}/", "")
    return text if len(home) < 2 else text.replace(home, "~")


def _replaced(
    settings: Mapping[str, Any], replacement: Callable[[str, str], str]
) -> dict[str, Any]:
    replaced = dict(settings)
    for key in _PLACES:
        value = _value(settings, key)
        if not isinstance(value, str):
            continue
        section, _, name = key.rpartition(".")
        if section:
            replaced[section] = {**replaced[section], name: replacement(key, value)}
        else:
            replaced[name] = replacement(key, value)
    return replaced


def _value(settings: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.rpartition(".")
    inside = settings.get(section) if section else settings
    return inside.get(name) if isinstance(inside, Mapping) else None


def _public(key: str, value: str) -> str:
    """A place as it may be published."""
    path = _path_in(value)
    kind = value.removesuffix(path)
    if not _is_local(path):
        return value
    if key == "data_dir":
        return ""
    *folders, name = pathlib.PurePosixPath(path).parts
    # Weights in the layout of the cache are recognised by the name of their folder.
    known = _published_folders() if key == "weights" else frozenset()
    return kind + "/".join([*(f for f in folders if f in known), name])


def _path_in(value: str) -> str:
    """The path in "folder:/path", and the whole value where no kind stands before."""
    kind, colon, _ = value.partition(":")
    if not colon or "/" in kind or kind.startswith("~"):
        return value
    # A path of weights stands behind the module, or behind the module and the class.
    return value.split(":", {"hear": 2, "xares": 3}.get(kind, 1))[-1]


def _is_local(path: str) -> bool:
    return path.startswith(("/", "~", "../"))


@functools.cache
def _published_folders() -> frozenset[str]:
    drives = [
        (p.drive_name or "").split("/")[0] for p in PUBLISHED if p.drive_is_folder
    ]
    return frozenset({*(p.name for p in PUBLISHED), *drives} - {""})
