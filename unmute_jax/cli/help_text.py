"""Writes what `--help` prints: usage, description, and the options in groups."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Container, Iterable, Sequence

from absl import flags

from unmute_jax.cli.options import (
    Option,
    grouped,
    of_flag,
    own_flags,
    settings_among,
)

# What stands above the settings of an experiment.
ABOUT_SETTINGS = (
    "The following options change settings of the config, and stand behind --config. "
    "The defaults are those of a config that says nothing else, and "
    "--config.KEY=None sets an option back to it."
)

# Lines are as long as the terminal is wide, between these limits.
_NARROWEST, _WIDEST = 40, 100


def width() -> int:
    """The length of a line: the width of the terminal, or 80 where there is none."""
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def help_text(
    usage: str, about: str, groups: Iterable[tuple[str, Sequence[Option]]]
) -> str:
    """Returns the text of `--help`.

    Args:
        usage: The usage line, such as "unmute train --config=CONFIG".
        about: The docstring of the command: paragraphs, examples that begin with
            "unmute" and are a line each, and indented lines that stay as they are.
        groups: Title and options of each group; a title may be a paragraph.
    """
    lines = [*wrapped(f"usage: {usage}", "", "         "), "", *described(about)]
    for title, options in groups:
        lines += options_text(title, options)
    return "\n".join(lines)


def options_text(title: str, options: Sequence[Option]) -> list[str]:
    """The lines of a group of options: an empty one, the title, and the options."""
    lines = ["", *wrapped(f"{title}:")]
    for option in options:
        lines += describe(option)
    return lines


def print_help(
    about: str, settings: Container[str], usage: str, *, everything: bool
) -> None:
    """Prints the help of the command whose module is imported.

    Args:
        about: The docstring of the command.
        settings: The settings of its config; empty if it takes none.
        usage: What follows the command in its usage line. It names `--workdir` if the
            command reads that.
        everything: Whether the options of libraries are described too.
    """
    hidden = set[str]() if settings else {"config"}
    hidden |= set[str]() if "--workdir" in usage else {"workdir"}
    own = own_flags()
    groups = [("Options", [of_flag(f) for f in own if f.name not in hidden])]
    if settings:
        (title, first), *others = grouped(settings_among(settings))
        groups += [(f"{ABOUT_SETTINGS} {title}", first), *others]
    if everything:
        names = flags.FLAGS.flag_values_dict().keys() - {flag.name for flag in own}
        rest = [of_flag(flags.FLAGS[name]) for name in sorted(names)]
        groups.append(("Options of libraries", rest))
    print(help_text(f"{_program()} {usage}".strip(), about, groups))


def _program() -> str:
    """How the program was started: "unmute train" or "python -m experiments.train"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    is_command = sys.argv[0].startswith("unmute ")
    return sys.argv[0] if is_command or not spec else f"python -m {spec.name}"


def described(about: str) -> list[str]:
    """The lines of a docstring, with wrapped paragraphs and indented examples."""
    lines = list[str]()
    for block in re.split(r"\n{2,}", about.strip("\n")):
        if lines:
            lines.append("")
        if block.startswith("unmute "):
            for example in block.splitlines():
                # Shells read on behind a backslash.
                *before, last = wrapped(" ".join(example.split()), "  ", "      ")
                lines += [*(f"{line} \\" for line in before), last]
        elif block.startswith(" "):
            lines += block.splitlines()
        else:
            lines += wrapped(" ".join(block.split()))
    return lines


def describe(option: Option) -> list[str]:
    """The lines that describe one option."""
    value = f"={option.placeholder}" if option.placeholder else ""
    lines = [f"  --{option.name}{value}"]
    values = f"Values: {option.values}." if option.values else ""
    if len(option.parts) == 1:
        (part,) = option.parts
        default = part.default or option.default
        texts = [" ".join(filter(None, [str(part), values, _default(default)]))]
    else:
        texts = [f"{part} {_default(part.default)}" for part in option.parts]
        texts.append(f"{values} {_default(option.default)}")
    for text in texts:
        lines += wrapped(text.strip(), "      ")
    return lines


def _default(words: str) -> str:
    return f"Default: {words}." if words else ""


def wrapped(text: str, indent: str = "", after: str | None = None) -> list[str]:
    """A paragraph as lines of the width of the terminal.

    Args:
        text: The paragraph.
        indent: What stands before every line.
        after: What stands before the lines that follow the first one, if it differs.
    """
    return textwrap.wrap(
        text,
        width(),
        initial_indent=indent,
        subsequent_indent=indent if after is None else after,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(rows: Sequence[Sequence[str]], right: Container[int]) -> list[str]:
    """The lines of a table whose last column is wrapped.

    Args:
        rows: The cells; those of the first row are the heads.
        right: Numbers of the columns that are aligned right.
    """
    sizes = [max(map(len, cells)) for cells in zip(*rows, strict=True)][:-1]
    lines = list[str]()
    for row in rows:
        cells = [
            cell.rjust(size) if i in right else cell.ljust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=False))
        ]
        before = "  ".join([*cells, ""])
        lines += wrapped(row[-1], before, " " * len(before))
    return lines
