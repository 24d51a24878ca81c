"""Encoders that somebody else wrote, in any framework: `my_module:MyEncoder`.

The class, or a function that makes such an object, need not know of this package:

    class MyEncoder:
        sample_rate = 16000        # of the waveforms it wants, in Hz
        version = "epoch 30"       # another word whenever its tokens change
        seconds_per_step = 0.16    # from one time step to the next
        jittable = False           # PyTorch, ONNX, NumPy; leave it out for JAX

        def __call__(self, waveform, lengths):
            ...                    # patches [B, T, F, D], or [B, T, D]

`waveform` is `[B, S]` float32 in [-1, 1] with zeros behind the end of each clip, and
`lengths` `[B]` int32 says how many samples each clip has. With `jittable = False` both
are NumPy arrays, and what comes back must be readable as such; otherwise the call is
compiled. The grid (T, F) must be the same for all clips of one length.

What else it may have:

    frequency_edges_hz    (low, high) of each of the F bands; needed where F > 1
    description, licence  for people
    input_samples(s)      samples to deliver for clips of up to `s` seconds; by default
                          those of the clip
    params and            in place of `__call__`, in JAX: weights that are an argument
    apply(params, ...)    of the compiled program are not copied into it

Where there is a class token, or where some time steps are to be left out, it returns a
dict of `patches`, `cls` `[B, D]` and `mask` `[B, T]` (true for real time steps), or a
`Tokens`. A weights file (`--config.weights`) and all options that are set reach the
class as keyword arguments. `python -m experiments.check_encoder my_module:MyEncoder`
says whether it may be trusted with results.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from unmute_jax.encoders.own_encoder import HostEncoder, OwnEncoder, takes_params
from unmute_jax.encoders.token_arrays import check_edges
from unmute_jax.errors import InputError, unknown_name

REQUIRED = ("sample_rate", "version", "seconds_per_step")
CALL = "__call__(waveform, lengths)"


def load(name: str, **options: Any) -> OwnEncoder:
    """The encoder `module:Class`, found from the current folder.

    Args:
        name: Of the module, a colon, and the class or function in it.
        **options: For the class. `weights` may be the path of a file, whose content
            becomes a part of `identity`.

    Raises:
        InputError: There is no such module or class, it does not know an option, or
            what it makes is no encoder.
    """
    make = _find(name)
    _check_options(name, make, options)
    theirs = make(**options)
    _check(name, theirs)
    weights = _weights(options.pop("weights", None))
    version = str(theirs.version)
    kind = OwnEncoder if getattr(theirs, "jittable", True) else HostEncoder
    return kind(
        name=name,
        description=getattr(theirs, "description", f"{name}, version {version}"),
        licence=getattr(theirs, "licence", "not said"),
        code=_digest_of_code(name),
        sample_rate=int(theirs.sample_rate),
        weights=weights,
        params=theirs.params if takes_params(theirs) else {},
        theirs=theirs,
        said={"version": version, "options": _plain_options(name, options)},
    )


def _find(name: str) -> Callable[..., Any]:
    path, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), attribute)):
        raise InputError(
            f"{name!r} is no encoder: a module, a colon and a class in it are wanted, "
            "as in my_module:MyEncoder"
        )
    # `python -m` has the current folder on the path; other ways to start have not.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        if path == missing or path.startswith(f"{missing}."):
            raise _no_module(path) from None
        raise InputError(f"{path} imports {missing}, which is not installed") from error
    made = getattr(module, attribute, None)
    if inspect.isclass(made) or inspect.isroutine(made):
        return made
    if made is not None:
        raise InputError(
            f"{name} is an object of type {type(made).__name__}: name the class, or a "
            "function that makes it"
        )
    known = [key for key, v in vars(module).items() if inspect.isclass(v)]
    raise unknown_name(f"encoder class in {path}", attribute, known)


def _no_module(path: str) -> InputError:
    here = [p.stem for p in sorted(pathlib.Path.cwd().glob("*.py"))]
    near = difflib.get_close_matches(path, here, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(
        f"there is no module {path!r}, neither in {pathlib.Path.cwd()} nor among the "
        f"installed packages{hint}"
    )


def _check_options(name: str, make: Callable[..., Any], options: Mapping) -> None:
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # Compiled code does not say; the call will.
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of encoder {name!r}", option, known)


def _check(name: str, theirs: Any) -> None:
    """Refuses what lacks a part of the protocol."""
    facts = {fact: getattr(theirs, fact, None) for fact in REQUIRED}
    lacking = [fact for fact, value in facts.items() if value is None]
    call = "apply(params, waveform, lengths)" if takes_params(theirs) else CALL
    if not callable(getattr(theirs, call.partition("(")[0], None)):
        lacking.append(call)
    if lacking:
        raise InputError(
            f"{name} has no {', no '.join(lacking)}: an encoder needs "
            f"{', '.join(REQUIRED)} and {CALL}"
        )
    for fact in ("sample_rate", "seconds_per_step"):
        value = facts[fact]
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"{fact} of {name} must be a number > 0, not {value!r}")
    if not isinstance(facts["version"], str | int) or facts["version"] == "":
        raise InputError(
            f"version of {name} must be a word or number that changes whenever its "
            f"tokens do, not {facts['version']!r}"
        )
    if getattr(theirs, "frequency_edges_hz", None) is not None:
        check_edges(name, theirs.frequency_edges_hz)


def _weights(given: Any) -> str:
    """What tells weights apart: the content of a file, or the word that was given."""
    if given is None:
        return "its own"
    if not pathlib.Path(given).is_file():
        return str(given)
    with pathlib.Path(given).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _plain_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(options))
    except TypeError as error:
        raise InputError(
            f"options of {name} are part of the name of its tokens and must be numbers "
            f"and words: {error}"
        ) from None


def _digest_of_code(name: str) -> str:
    """Sixteen characters that change with the file of the class."""
    file = sys.modules[name.partition(":")[0]].__file__
    if file is None:
        return ""
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()[:16]
