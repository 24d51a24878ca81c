"""The command `unmute`: `unmute train --config quickstart`."""

from __future__ import annotations

import importlib
import signal
import sys

import unmute_jax
from unmute_jax.cli.ending import explained
from unmute_jax.errors import unknown_name

COMMANDS = {
    "train": "train probes on the tokens of a frozen encoder",
    "sweep": "search learning rates and weight decays, then train the best setting",
    "embed": "compute, export, list, verify and prune cached tokens",
    "grid": "run a grid of encoders x data sets x probes",
    "report": "turn the records of runs into tables, pictures and one page",
    "predict": "name the sounds in recordings with a trained probe",
    "tag": "name AudioSet's classes in recordings, without any training",
    "export": "write a trained protobin as a file of one bit per weight",
    "diagnose": "show what the prototypes of a trained probe turned into",
    "convert": "convert pretrained weights, list published ones",
    "datasets": "list the data sets, or check whether yours can be read",
    "check-encoder": "check an encoder before it is trusted with results",
}


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
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_usage())
        return
    if name == "--version":
        print(f"unmute_jax {unmute_jax.__version__}")
        return
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    # An exception in the middle of the import of a compiled module may end in a crash.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = importlib.import_module(f"unmute_jax.cli.{name.replace('-', '_')}")
    signal.signal(signal.SIGINT, handler)
    sys.argv = [f"unmute {name}", *options]
    module.run()


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unmute COMMAND [--option=value ...]",
            "",
            *lines,
            "",
            "unmute COMMAND --help shows the options of a command.",
        ]
    )


if __name__ == "__main__":
    main()
