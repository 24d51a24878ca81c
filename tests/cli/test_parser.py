"""Commands without a config have the same help and the same errors as the others."""

import pytest

from unmute_jax.cli.parser import Parser
from unmute_jax.errors import InputError


@pytest.fixture
def parser(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    made = Parser("convert", "Does it.", "[--list]")
    made.add_argument("--list", action="store_true", help="List all.")
    return made


def test_help_is_written_as_that_of_all_commands(parser):
    assert parser.format_help() == (
        "usage: unmute convert [--list]\n\nDoes it.\n\nOptions:\n"
        "  --list\n      List all.\n"
    )


@pytest.mark.parametrize("argument", ["--lst", "--li", "more"])
def test_a_mistake_is_an_error_of_the_input(parser, argument):
    with pytest.raises(InputError, match=f"{argument}; --help describes the options"):
        parser.parse_args([argument])
