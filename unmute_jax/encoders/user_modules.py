"""Imports modules and classes that users name, also from the current folder."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from unmute_jax.errors import InputError, unknown_name


def import_class(name: str) -> Callable[..., Any]:
    """Imports the class or function `module:name`.

    Raises:
        InputError: There is no such module or no such class in it.
    """
    path, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), attribute)):
        raise InputError(
            f"{name!r} does not name an encoder: a module, a colon and a class in it "
            "are expected, as in my_module:MyEncoder"
        )
    module = import_module(path)
    made = getattr(module, attribute, None)
    if inspect.isclass(made) or inspect.isroutine(made):
        return made
    if made is not None:
        raise InputError(
            f"{name} is an object of type {type(made).__name__}: name its class, or a "
            "function that makes it"
        )
    known = [key for key, v in vars(module).items() if inspect.isclass(v)]
    raise unknown_name(f"encoder class in {path}", attribute, known)


def import_module(path: str) -> ModuleType:
    """Imports a module by its dotted name.

    Raises:
        InputError: There is no such module, or it imports one that is not installed.
    """
    # `python -m` has the current folder on the path; other ways to start have not.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        if path == missing or path.startswith(f"{missing}."):
            raise _no_module(path) from None
        raise InputError(f"{path} imports {missing}, which is not installed") from error


def check_options(name: str, make: Callable[..., Any], options: Mapping) -> None:
    """Refuses options that a class or function does not take.

    Raises:
        InputError: An option is unknown; the message names the nearest.
    """
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # Compiled code has no signature; the call itself will fail.
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of encoder {name!r}", option, known)


def _no_module(path: str) -> InputError:
    here = [p.stem for p in sorted(pathlib.Path.cwd().glob("*.py"))]
    near = difflib.get_close_matches(path, here, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(
        f"there is no module {path!r}, neither in {pathlib.Path.cwd()} nor among the "
        f"installed packages{hint}"
    )
