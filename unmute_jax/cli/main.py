"""The command `unmute`: `unmute train --config quickstart`."""

from __future__ import annotations

import importlib
import os
import pathlib
import signal
import sys
from typing import Any

import unmute_jax
from unmute_jax.cli.ending import explained
from unmute_jax.errors import unknown_name

NAMES = (
    *("train", "sweep", "embed", "grid", "report", "predict", "tag", "export"),
    *("diagnose", "convert", "datasets", "encoders", "probes", "check-encoder"),
    "completion",
)


def _first_line(name: str) -> str:
    """The first sentence of the docstring of a command's module, without its end."""
    file = pathlib.Path(__file__).with_name(f"{_module(name)}.py")
    with file.open(encoding="utf-8") as lines:
        return next(lines).strip().strip('"').removesuffix(".")


def _module(name: str) -> str:
    return name.replace("-", "_")


# The commands in the order of `--help`, and what each of them does.
COMMANDS = {name: _first_line(name) for name in NAMES}


def main() -> None:
    """Runs the command that the first argument names; the rest are its options."""
    try:
        with explained():
            _main()
    finally:
        # Python has little left to do, and would print a traceback where it is stopped.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)


def _main() -> None:
    if "_ARGCOMPLETE" in os.environ:  # A shell asks for completions.
        importlib.import_module("unmute_jax.cli.completion").complete()
        return
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        # `unmute help train` is what people who know git type.
        if options and options[0] in COMMANDS:
            return _run(options[0], ["--help"])
        print(_usage())
    elif name == "--version":
        print(f"unmute_jax {unmute_jax.__version__}")
    elif name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    else:
        _run(name, options)


def load(name: str) -> Any:
    """Imports the module of a command, which is quick."""
    return importlib.import_module(f"unmute_jax.cli.{_module(name)}")


def _run(name: str, options: list[str]) -> None:
    # An exception in the middle of the import of a compiled module may end in a crash.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = load(name)
    signal.signal(signal.SIGINT, handler)
    sys.argv = [f"unmute {name}", *options]
    module.run()


def _usage() -> str:
    from unmute_jax.cli.help_text import columns

    rows = [[f"  {name}", f"{what}."] for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unmute COMMAND [--OPTION=VALUE ...]",
            "",
            "Compares frozen audio encoders by small probes on their tokens.",
            "",
            "  unmute train --config quickstart    real results without a download",
            "  unmute COMMAND --help               the options of a command",
            "  unmute --version",
            "",
            "Commands:",
            *columns(rows, right=()),
        ]
    )


if __name__ == "__main__":
    main()
