"""Shows progress as a bar or as lines in a log; prints tables; formats sizes.

The library shows progress only where `set_verbose` asks for it, as every command does.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from unmute_jax.errors import printable

_is_verbose = False


def set_verbose(is_verbose: bool = True) -> None:
    """Chooses whether the library prints what it is doing; by default it does not.

    Args:
        is_verbose: Whether progress bars, and lines on what is read, computed, skipped
            and downloaded, are printed from now on, as the commands of `unmute` do.
    """
    global _is_verbose
    _is_verbose = is_verbose


def is_verbose() -> bool:
    """Whether the library prints what it is doing."""
    return _is_verbose


@contextlib.contextmanager
def progress(
    label: str, total: int, *, unit: str, done: int = 0, line_every: float = 10.0
) -> Generator[Callable[[int], None]]:
    """Shows the progress of a long task, if the library is verbose.

    Args:
        label: The work that is shown.
        total: Number of units in all.
        unit: Name of the units, in the plural ("clips").
        done: Units that an earlier run has done. The rate does not count them.
        line_every: Seconds between two lines, where there is no terminal.

    Yields:
        A function that advances the progress by a number of units.
    """
    label = printable(label)
    if not _is_verbose:
        yield lambda n: None
    elif sys.stderr.isatty():
        with _bar(label, total, unit, done) as advance:
            yield advance
    else:
        yield _lines(label, total, unit, done, line_every)


@contextlib.contextmanager
def _bar(
    label: str, total: int, unit: str, done: int
) -> Generator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    start, new = time.monotonic(), 0
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(label, total=total, completed=done, rate="")

        def advance(n: int) -> None:
            nonlocal new
            new += n
            rate = new / max(time.monotonic() - start, 1e-9)
            bars.update(task, advance=n, rate=f"{rate:.3g} {unit}/s")

        yield advance


def _lines(
    label: str, total: int, unit: str, done: int, line_every: float
) -> Callable[[int], None]:
    """Prints lines; rich would draw its bar anew for each."""
    start = last = time.monotonic()
    new = 0

    def advance(n: int) -> None:
        nonlocal last, new
        new += n
        now = time.monotonic()
        if now - last < line_every:
            return
        last = now
        line = f"{label}: {done + new}/{total} {unit}"
        if new and now > start:
            rate = new / (now - start)
            left = (total - done - new) / rate
            line += f", {rate:.3g} {unit}/s, about {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    return advance


def hub_bar() -> Any:
    """The class of the progress bars of huggingface_hub; None for its usual one."""
    from huggingface_hub.utils import tqdm

    class Hidden(tqdm):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options | {"disable": True})

    return None if _is_verbose else Hidden


def say(text: str, *, error: bool = False) -> None:
    """Prints a message in which names of the user's files may occur.

    Args:
        text: The message. Characters that a terminal would obey are made visible.
        error: Whether it goes to the output for errors.
    """
    print(printable(text), file=sys.stderr if error else sys.stdout)


def inform(text: str, *, error: bool = False) -> None:
    """Prints a message as `say` does, if the library is verbose.

    Args:
        text: The message, on what the library is doing.
        error: Whether it goes to the output for errors.
    """
    if _is_verbose:
        say(text, error=error)


class _Output(Console):
    """A console that leaves a closed pipe to the command, as `print` does.

    Texts in it have no markup, because names of classes may look like it.
    """

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a text without characters that a terminal would obey."""
        return super().render_str(printable(text), **options)


def print_table(table: RenderableType) -> None:
    """Prints a table with the width of the terminal, and at least 100 columns.

    Args:
        table: What is to be printed. Where the output is a file, rich would assume 80
            columns.
    """
    console = _Output(highlight=False, markup=False, emoji=False)
    console.width = max(console.width, 100)
    console.print(table)


def size_text(count: int) -> str:
    """Formats a number of bytes: "3.6 TB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} kB"


def duration_text(seconds: float) -> str:
    """Formats a duration: "2.5 h"."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
