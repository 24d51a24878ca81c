"""Reads a command line as `unmute` does, and stops before anything is done.

python -m tests.parse_only train --config quickstart
"""

import argparse
import sys

from unmute_jax.cli import main, program
from unmute_jax.config import Experiment
from unmute_jax.grid.cells import Grid

_command = program.command
_parse_args = argparse.ArgumentParser.parse_args


def command(*arguments, **options):
    with _command(*arguments, **options):
        if program.has_config():
            values = program.config_values()
            (Grid if "encoders" in values else Experiment).from_dict(values)
        sys.exit(0)


def parse_args(self, *arguments, **options):
    _parse_args(self, *arguments, **options)
    sys.exit(0)


if __name__ == "__main__":
    program.command = command
    argparse.ArgumentParser.parse_args = parse_args
    main.main()
