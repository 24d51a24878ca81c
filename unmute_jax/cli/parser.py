"""Parses the arguments of commands that take neither a config nor a run."""

from __future__ import annotations

import argparse
from typing import NoReturn

from unmute_jax.cli.help_text import help_text
from unmute_jax.cli.options import of_parser
from unmute_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose help and errors are those of all commands.

    The help of an option must be whole sentences.
    """

    def __init__(self, command: str, about: str | None, usage: str):
        """Creates a parser without options.

        Args:
            command: Name of the command.
            about: The docstring of its module.
            usage: What follows the command in its usage line.
        """
        super().__init__(
            prog=f"unmute {command}",
            usage=f"unmute {command} {usage}",
            description=about,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` with the message."""
        raise InputError(f"{message}; --help describes the options")

    def format_help(self) -> str:
        """Returns the text of `--help`."""
        usage, about = str(self.usage), str(self.description)
        return f"{help_text(usage, about, [('Options', of_parser(self))])}\n"
