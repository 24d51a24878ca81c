"""Decides how a command ends: with which exit code, and what it says.

| exit code | meaning |
|---:|---|
| 0 | the command did its work |
| 1 | it did, and found faults: a recording that cannot be read, a damaged store |
| 2 | it could not: one line says what is wrong with the input or with the machine |
| 130, 143 | Ctrl-C or SIGTERM has stopped it; the same command continues the work |
| 141 | the reader of its output, such as `head`, has closed it |

A traceback, with exit code 1, is a fault of this library.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Generator
from typing import Any

from unmute_jax import console
from unmute_jax.console import say
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import describe_fault, disk_fault

# Characters of our own texts, for terminals that know ASCII only.
_PLAIN = {"±": "+-", "→": "->", "–": "-", "…": "...", "·": "-", "×": "x"}


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Ends the process with one line and an exit code where an error is foreseen.

    Foreseen are errors of the input (`InputError`) and of the machine: a full disk, a
    missing accelerator, too little memory. Other exceptions pass through. Commands show
    what they are doing (`console.set_verbose`).
    """
    _prepare_output()
    was_verbose = console.is_verbose()
    console.set_verbose()
    before, sys.unraisablehook = sys.unraisablehook, _report
    try:
        yield
        print(end="", flush=True)
    except BrokenPipeError:
        _leave(141)
    except KeyboardInterrupt as stop:
        _say(str(stop) or "stopped by SIGINT")
        _leave(getattr(stop, "code", 130))
    except Exception as error:
        if (problem := _problem(error)) is None:
            raise
        _say(f"error: {problem}")
        _leave(2)
    finally:
        sys.unraisablehook = before
        console.set_verbose(was_verbose)


def _report(unraisable: Any) -> None:
    """Prints an exception that nobody can handle.

    When orbax fails to write a checkpoint, each thread of tensorstore that still waits
    for it complains of a closed loop, besides the error that is reported.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _problem(error: Exception) -> str | None:
    """Says what is wrong; None if the error was not foreseen."""
    if isinstance(error, InputError):
        return str(error)
    if reason := _missing_device(error):
        return reason
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED: Out of" in str(error):
        return f"this machine has not enough memory: {one_line(str(error), 200)}"
    fault = disk_fault(error)
    return None if fault is None else describe_fault(fault)


def _missing_device(error: Exception) -> str | None:
    """Says that JAX has no device of the kind that `JAX_PLATFORMS` wants."""
    wanted = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME")
    frames = traceback.extract_tb(error.__traceback__)
    if not wanted or not frames or not frames[-1].filename.endswith("xla_bridge.py"):
        return None
    reason = one_line(str(error), 300).partition(" (set JAX_PLATFORMS")[0]
    return (
        f"JAX_PLATFORMS={wanted}, but JAX finds no such device"
        f"{f' ({reason})' if reason else ''}: unset it to use what there is, or "
        "install JAX for that device"
    )


def _prepare_output() -> None:
    """Lets every text be written, to any terminal and also where there is none."""

    def replace(error: UnicodeError) -> tuple[str | bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        if plain := _PLAIN.get(error.object[error.start]):
            return plain, error.start + 1
        error.end = error.start + 1
        return codecs.backslashreplace_errors(error)

    codecs.register_error("plain", replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # As some schedulers start programs.
            setattr(sys, name, open(os.devnull, "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        say(line, error=True)


def _leave(code: int) -> None:
    """Exits without a complaint about output that nobody takes any more."""
    try:
        print(end="", flush=True)
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    sys.exit(code)
