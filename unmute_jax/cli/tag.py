"""Names the sounds in recordings with the class head of a supervised encoder.

unmute tag --encoder beats+ FILE_OR_FOLDER ...
unmute tag --encoder eat --weights FILE_OR_NAME FOLDER --output OUT

Supervised encoders (those with a "+") score AudioSet's 527 classes. The command prints
the classes with the highest scores of every recording; each score is a sigmoid of its
own. Recordings may be hours long: they are read in overlapping windows. With --output,
OUT will contain

    tags.csv     the classes with the highest scores of every window:
                 file, start_s, end_s, class, score
    windows/     the scores of every class in every window, from which tags.csv is made

The same command continues a run that was stopped, and another --top reuses the scores
of the windows. Files that cannot be read are named, and the exit code is then 1.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from absl import flags

from unmute_jax.cli import program
from unmute_jax.console import progress, say
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import writing

if TYPE_CHECKING:
    from unmute_jax.inference.recordings.tagger import Tag


USAGE = "--encoder=ENCODER FILE_OR_FOLDER ... [--OPTION=VALUE ...]"
ENCODER = flags.DEFINE_string("encoder", None, "The encoder: beats+, eat+, ...")
WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "A file or the name of published weights. By default those of the encoder.",
)
OUTPUT = flags.DEFINE_string("output", None, "The folder to write to.")
WINDOW = flags.DEFINE_float(
    "window", 10.0, "The length of a window in seconds. AudioSet's clips have 10."
)
OVERLAP = flags.DEFINE_float(
    "overlap",
    0.5,
    "The share of a window that overlaps with the next one, from 0 to below 1.",
)
TOP = flags.DEFINE_integer(
    "top",
    5,
    "The number of classes per recording, and per window in tags.csv.",
    lower_bound=1,
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "The number of windows per step of the encoder."
)


def main(places: list[str]) -> None:
    """Scores the recordings, prints the best classes and writes the files."""
    if not places:
        raise InputError(
            "no recordings are given: write --encoder NAME FILE_OR_FOLDER ..."
        )
    with program.importing():
        from unmute_jax.encoders import load_encoder
        from unmute_jax.inference.recordings.partial_results import pin_settings
        from unmute_jax.inference.recordings.stream import (
            count_windows,
            score_recordings,
        )
        from unmute_jax.inference.recordings.tagger import (
            COLUMNS,
            Tagger,
            best_tags,
            window_tags,
        )
        from unmute_jax.inference.recordings.windows import find_recordings

    recordings = find_recordings(places)
    encoder = load_encoder(program.required(ENCODER), WEIGHTS.value)
    tagger = Tagger(encoder, WINDOW.value, BATCH_SIZE.value)
    windowing = tagger.windowing(OVERLAP.value)
    folder = pathlib.Path(OUTPUT.value).expanduser() if OUTPUT.value else None
    if folder is not None:
        pin_settings(folder, tagger.identity(windowing))

    windows = folder / "windows" if folder else None
    total, done = count_windows(recordings, windowing, windows)
    lines: list[str] = []
    errors: list[InputError] = []
    with (
        _table(folder, COLUMNS) as add,
        progress("listening", total, unit="windows", done=done) as advance,
    ):
        for results in score_recordings(
            recordings, tagger, windowing, windows, advance
        ):
            if results.error is not None:
                errors.append(results.error)
                continue
            add(tag.row for tag in window_tags(results, tagger.classes, TOP.value))
            lines.append(_line(best_tags(results, tagger.classes, TOP.value)))
    for line in lines:
        say(line)
    if folder is not None:
        say(f"all files are in {folder}/")
    for error in errors:
        say(f"error: {error}", error=True)
    if errors:
        left_out = f"{len(errors)} of {len(recordings)} recordings were left out"
        print(left_out, file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def _table(
    folder: pathlib.Path | None, columns: Sequence[str]
) -> Generator[Callable[[Iterable[Sequence[str]]], None]]:
    """Yields a function that adds rows to `tags.csv`, which appears at the end."""
    if folder is None:
        yield lambda rows: None
        return
    from unmute_jax.datasets.tables import csv_text

    with writing(folder / "tags.csv") as out:

        def add(rows: Iterable[Sequence[str]]) -> None:
            out.write(csv_text(rows).encode(errors="backslashreplace"))

        add([columns])
        yield add


def _line(found: list[Tag]) -> str:
    """`name: Dog 0.93 at 0-10 s, ...`."""
    parts = [
        f"{one_line(t.name, 200)} {t.score:.2f} at {t.start:g}-{t.end:g} s"
        for t in found
    ]
    return f"{one_line(found[0].file)}: {', '.join(parts)}"


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        main(arguments)
