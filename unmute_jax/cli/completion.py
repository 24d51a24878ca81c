"""Prints what makes a shell complete commands, options and their values.

unmute completion bash
unmute completion zsh
unmute completion fish

bash    eval "$(unmute completion bash)" in ~/.bashrc
zsh     eval "$(unmute completion zsh)" in ~/.zshrc, behind compinit
fish    unmute completion fish > ~/.config/fish/completions/unmute.fish

The Tab key then completes commands, options, and the names of configs, data sets,
encoders and probes.
"""

from __future__ import annotations

import argparse
import ast
import os
import pathlib
import types
from collections.abc import Callable, Iterable, Sequence

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.shell_integration import shellcode

import unmute_jax
from unmute_jax.cli import main as command
from unmute_jax.cli.ending import explained
from unmute_jax.cli.options import (
    Option,
    of_flag,
    of_parser,
    own_flags,
    settings_among,
    values_by_name,
)
from unmute_jax.cli.parser import Parser
from unmute_jax.config import default_config
from unmute_jax.config_files import shipped_configs
from unmute_jax.grid.axes import default_grid

SHELLS = ("bash", "zsh", "fish")
# A function that returns the values that begin with `prefix`.
Completer = Callable[..., Iterable[str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of this process."""
    with explained():
        shell = parser().parse_args(arguments).shell
        print(shellcode(["unmute"], shell=shell))


def parser() -> Parser:
    """The parser of the arguments."""
    made = Parser("completion", __doc__, "|".join(SHELLS))
    made.add_argument("shell", choices=SHELLS)
    return made


def complete() -> None:
    """Answers the shell: what may follow the words that are typed so far."""
    words = os.environ["COMP_LINE"].split()
    name = words[1] if len(words) > 1 else ""
    argcomplete.autocomplete(as_argparse(name), always_complete_options=False)


def as_argparse(name: str) -> argparse.ArgumentParser:
    """Describes all commands to argcomplete, and the options of one of them.

    Args:
        name: Name of the command whose options are described.
    """
    made = argparse.ArgumentParser(prog="unmute")
    made.add_argument("--version", action="store_true")
    commands = made.add_subparsers()
    for other, what in command.COMMANDS.items():
        one = commands.add_parser(other, help=what)
        if other == name:
            _describe(one, name, command.load(name))
    return made


def _describe(
    parser: argparse.ArgumentParser, name: str, module: types.ModuleType
) -> None:
    """Adds the options and the arguments of a command to a parser."""
    options = [of_flag(flag) for flag in own_flags()]
    places: Completer | None = FilesCompleter()
    if hasattr(module, "parser"):
        own = module.parser()
        options = of_parser(own)
        choices = [action.choices or () for action in own._get_positional_actions()]
        places = _one_of(lambda: choices[0] if choices else ())
    elif "--config=CONFIG" in module.USAGE:
        defaults = default_grid() if name == "grid" else default_config()
        options += settings_among(dict(values_by_name(defaults))).values()
        places = None
    for option in options:
        _add(parser, option)
    action = parser.add_argument("rest", nargs="*")
    action.completer = VALUES.get(name, places)  # pyright: ignore


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    """Adds one option to a parser."""
    text = " ".join(str(part) for part in option.parts).replace("%", "%%")
    if not option.placeholder:
        parser.add_argument(f"--{option.name}", action="store_true", help=text)
        return
    action = parser.add_argument(f"--{option.name}", help=text)
    values = VALUES.get(option.name.rpartition(".")[2])
    if option.choices:
        values = _one_of(lambda: option.choices)
    action.completer = values or FilesCompleter()  # pyright: ignore


def _one_of(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes one name."""

    def completer(prefix: str, **_: object) -> list[str]:
        return [name for name in names() if name.startswith(prefix)]

    return completer


def _several_of(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes the last of several names that are separated by commas."""

    def completer(prefix: str, **_: object) -> list[str]:
        before, comma, last = prefix.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]

    return completer


def _registered(room: str, table: str) -> tuple[str, ...]:
    """The names in a registry, read from its source: importing it takes seconds."""
    file = pathlib.Path(unmute_jax.__file__).parent / room / "__init__.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if any(isinstance(t, ast.Name) and t.id == table for t in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert isinstance(node.value, ast.Dict)
            return tuple(ast.literal_eval(key) for key in node.value.keys if key)
    raise KeyError(table)


def probes() -> tuple[str, ...]:
    """The names of all probes."""
    return _registered("probes", "_PROBES")


def encoders() -> tuple[str, ...]:
    """The names of all encoders."""
    return _registered("encoders", "_FILES")


def datasets() -> list[str]:
    """The names of all data sets."""
    from unmute_jax.datasets import list_datasets

    return list_datasets()


def weights() -> list[str]:
    """The names of published weights, and "untrained"."""
    from unmute_jax.weights.published_list import PUBLISHED

    return ["untrained", *(file.name for file in PUBLISHED)]


def configs(prefix: str, **_: object) -> list[str]:
    """The configs that ship with the package, and files."""
    names = [name for name in shipped_configs() if name.startswith(prefix)]
    return [*names, *FilesCompleter(("py",))(prefix)]


# What completes the value of an option, or the argument of a command, by its name.
VALUES: dict[str, Completer] = {
    "config": configs,
    "keep": configs,
    "dataset": _one_of(datasets),
    "datasets": _several_of(datasets),
    "encoder": _one_of(encoders),
    "encoders": _several_of(encoders),
    "check-encoder": _one_of(encoders),
    "probe": _one_of(probes),
    "probes": _several_of(probes),
    "weights": _one_of(weights),
}


def run() -> None:
    """Runs the command with the arguments of this process."""
    main()
