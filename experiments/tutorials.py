"""Runs the commands of the tutorials, and writes what they print into the pages.

    python -m experiments.tutorials --output FOLDER
    python -m experiments.tutorials --output FOLDER --page one_bit --page time_steps

The tutorials are the pages in `docs/tutorials/` and `docs/quickstart.md`. Their blocks
are run from the top of the page to its end, in a folder of the page's name:

* `bash`: commands, each of which begins with `unmute` or `python`;
* `python` with a title: a file of that name;
* `python` without a title: a program;
* `text` below the comment `<!-- output -->`: what the block before it has printed, or
  with `<!-- output: from TEXT -->` the part that begins with the first line with TEXT;
* a picture below the comment `<!-- picture: FILE -->`: a copy of that file, whose name
  may have a `*`;
* what stands below the comment `<!-- not run: REASON -->` is left out.

`--small` runs the same with few clips and one epoch, to see that it works, and changes
no page.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md")))
# Options that make a run of `esc_mix` small.
_SMALL_CLIPS = (
    "--config.dataset_options.train_clips=24",
    "--config.dataset_options.validation_clips=12",
    "--config.dataset_options.test_clips=12",
    "--config.batch_size=16",
    "--config.epochs=1",
    "--config.steps=0",
    "--config.eval_every=1",
    "--config.seeds=2",
    "--config.optimizer.learning_rates=0.01,0.1",
)
SMALL = {"train": _SMALL_CLIPS, "grid": _SMALL_CLIPS, "embed": _SMALL_CLIPS[:3]}

# Runs a program with its arguments in a folder and returns what it printed.
Run = Callable[[str, Sequence[str], pathlib.Path], str]


class Block(NamedTuple):
    """A fenced block or a comment of a page.

    Attributes:
        kind: The language of the block, or "comment".
        title: The title of the block, usually the name of a file.
        text: What is inside.
        first: The line of the page with the first line of the text, from 0.
        last: The line behind its last one.
    """

    kind: str
    title: str
    text: str
    first: int
    last: int


def blocks(markdown: str) -> Iterator[Block]:
    """Yields the fenced blocks and the comments of a page, from its top to its end."""
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "fence":
            kind = token.info.split(" ", 1)[0]
            title = re.search('title="([^"]+)"', token.info)
            named = title[1] if title else ""
            yield Block(kind, named, token.content, first + 1, last - 1)
        elif match := re.fullmatch("<!-- (.*) -->", token.content.strip()):
            if token.type == "html_block":
                yield Block("comment", "", match[1], first, last)


def runnable(markdown: str) -> Iterator[Block]:
    """Yields the blocks and comments of a page that are not excluded from running."""
    is_left_out = False
    for block in blocks(markdown):
        if not is_left_out:
            yield block
        is_left_out = block.kind == "comment" and block.text.startswith("not run")


def commands(text: str) -> Iterator[list[str]]:
    """Yields the commands of a block as lists of arguments, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if arguments := shlex.split(line, comments=True):
            yield arguments


def run_page(
    markdown: str, folder: pathlib.Path, run: Run, *, small: bool = False
) -> str:
    """Runs what stands on a page.

    Args:
        markdown: The text of the page.
        folder: The folder in which everything is run.
        run: Function that runs a command.
        small: Whether runs have few clips and one epoch.

    Returns:
        The text of the page with the outputs of this time.
    """
    lines = markdown.splitlines()
    # Blocks are replaced from the end of the page, so that line numbers stay right.
    replaced = list[tuple[Block, str]]()
    printed, part = "", ""
    for block in runnable(markdown):
        if block.kind == "comment":
            part = block.text if block.text.startswith("output") else ""
            continue
        if block.kind == "bash":
            printed = "".join(
                run(name, _smaller(rest) if small else rest, folder)
                for name, *rest in commands(block.text)
            )
        elif block.kind == "python" and block.title:
            (folder / block.title).write_text(block.text)
        elif block.kind == "python":
            (folder / "program.py").write_text(block.text)
            printed = run("python", ["program.py"], folder)
        elif block.kind == "text" and part:
            replaced.append((block, _part_of(printed, part)))
        part = ""
    for block, text in reversed(replaced):
        lines[block.first : block.last] = text.splitlines()
    return "\n".join(lines) + "\n"


def pictures(markdown: str) -> Iterator[tuple[str, str]]:
    """Yields the file that each picture is a copy of, and the name of the copy."""
    yield from re.findall(r"<!-- picture: (\S+) -->\n+!\[[^]]*\]\(([^)]+)\)", markdown)


def _smaller(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with the options that make it small."""
    options = SMALL.get(arguments[0], ())
    # Values of an option that is given twice would be joined, if they are lists.
    given = tuple(option.partition("=")[0] + "=" for option in options)
    return [*(a for a in arguments if not a.startswith(given)), *options]


def _part_of(printed: str, which: str) -> str:
    """The part of an output that a comment asks for."""
    text = which.partition("output: from ")[2]
    lines = [line.rstrip() for line in printed.splitlines()]
    first = next((k for k, line in enumerate(lines) if text in line), None)
    if first is None:
        raise ValueError(f"no line of the output has {text!r}:\n{printed}")
    return "\n".join(lines[first:])


def _in_process(cache: pathlib.Path) -> Run:
    """A function that runs commands in processes of their own, with a cache."""

    def run(name: str, arguments: Sequence[str], folder: pathlib.Path) -> str:
        module = ["-m", "unmute_jax.cli.main"] if name == "unmute" else []
        if name not in ("unmute", "python"):
            raise ValueError(f"{name}: tutorials run unmute and python only")
        print(f"$ {shlex.join([name, *arguments])}", flush=True)
        done = subprocess.run(
            [sys.executable, *module, *arguments],
            cwd=folder,
            # Wide enough for the tables of all commands.
            env={**os.environ, "UNMUTE_CACHE": str(cache), "COLUMNS": "116"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        # The cache is where it is by default, for somebody who follows the page.
        return done.stdout.replace(str(cache), "~/.cache/unmute_jax")

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the pages and writes their outputs and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, required=True)
    names = [page.stem for page in PAGES]
    parser.add_argument("--page", action="append", choices=names)
    parser.add_argument("--small", action="store_true")
    chosen = parser.parse_args(arguments)
    for page in PAGES:
        if page.stem not in (chosen.page or names):
            continue
        # What an earlier call left would change what commands print.
        folder = chosen.output.absolute() / page.stem
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        text = page.read_text()
        run = _in_process(chosen.output.absolute() / "cache")
        written = run_page(text, folder, run, small=chosen.small)
        copies = {copy: next(folder.glob(file)) for file, copy in pictures(text)}
        if not chosen.small:
            page.write_text(written)
            for copy, file in copies.items():
                shutil.copyfile(file, page.parent / copy)


if __name__ == "__main__":
    main()
