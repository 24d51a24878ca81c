"""Finds config files, by path or by name, and reads the experiments in them."""

from __future__ import annotations

import os
import pathlib
import runpy
import traceback
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

import unmute_jax
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError, one_line, unknown_name


def load_experiment(
    config: str | os.PathLike[str] | Mapping[str, Any] | ConfigDict | Experiment,
) -> Experiment:
    """Reads the settings of an experiment.

        settings = uj.load_experiment("quickstart")
        settings = dataclasses.replace(settings, probes="linear", seeds=3)

    Args:
        config: The name of a config that ships with the package ("quickstart"), the
            path of a config file, what `get_config` of such a file returns, or a
            nested dictionary of settings. Settings that are left out have their
            default. An `Experiment` is returned as it is.

    Raises:
        InputError: There is no such config, it is no valid program, a setting is
            unknown, or a value is not allowed.
    """
    if isinstance(config, Experiment):
        return config
    if isinstance(config, str | os.PathLike):
        config = _run(os.fspath(config))
    values = config.to_dict() if isinstance(config, ConfigDict) else config
    return Experiment.from_dict(values)


def values_of(config: Any) -> dict[str, Any]:
    """Returns the settings in what `get_config` of a config file has returned.

    Raises:
        InputError: It is not a `ConfigDict`.
    """
    if not isinstance(config, ConfigDict):
        raise InputError(
            "get_config of the config file must return a ConfigDict, such as a changed "
            f"default_config(), not {one_line(repr(config), 100)}"
        )
    return config.to_dict()


def mistake_in_config(error: Exception) -> InputError:
    """Says in one line what a config file that is no valid program has raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file, line = last.filename, last.lineno
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    reason = one_line(f"{type(error).__name__}: {error}", 200)
    return InputError(f"{file}, line {line}: {reason}")


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


def _run(spec: str) -> dict[str, Any]:
    """Runs a config file and returns the settings of its `get_config`."""
    path, colon, argument = find_config(spec).partition(":")
    try:
        namespace = runpy.run_path(path)
        if "get_config" not in namespace:
            raise InputError(
                f"{path}: is no config file, it does not define get_config"
            )
        made = namespace["get_config"](*[argument] * bool(colon))
    except InputError:
        raise
    except Exception as error:
        raise mistake_in_config(error) from error
    return values_of(made)


def _shipped() -> list[pathlib.Path]:
    package = pathlib.Path(unmute_jax.__file__).parent
    # The wheel has the configs inside the package, a checkout beside it.
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return sorted(folder.glob("[!_]*.py"))
    return []


def _paths_here() -> list[str]:
    return [str(path) for path in pathlib.Path("configs").glob("[!_]*.py")]
