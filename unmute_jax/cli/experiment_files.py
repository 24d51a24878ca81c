"""Finds config files: by path, or by name among those that ship with the package."""

from __future__ import annotations

import pathlib

import unmute_jax
from unmute_jax.errors import unknown_name


def find_config(spec: str) -> str:
    """Returns the path of a config file, with the argument of its `get_config`.

    Args:
        spec: A path ("configs/quickstart.py") or the name of a config that ships with
            the package ("quickstart"); an argument may follow a colon
            ("paper:general").

    Raises:
        InputError: There is no such file and no such name.
    """
    name, colon, argument = spec.partition(":")
    shipped = {path.stem: path for path in _shipped()}
    if pathlib.Path(name).is_file():
        return spec
    if name in shipped:
        return f"{shipped[name]}{colon}{argument}"
    raise unknown_name("config", name, [*shipped, *_paths_here()])


def shipped_configs() -> list[str]:
    """The names of the configs that ship with the package, sorted."""
    return sorted(path.stem for path in _shipped())


def _shipped() -> list[pathlib.Path]:
    package = pathlib.Path(unmute_jax.__file__).parent
    # The wheel has the configs inside the package, a checkout beside it.
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return sorted(folder.glob("[!_]*.py"))
    return []


def _paths_here() -> list[str]:
    return [str(path) for path in pathlib.Path("configs").glob("[!_]*.py")]
