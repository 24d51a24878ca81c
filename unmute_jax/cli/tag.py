"""Names the sounds in recordings with the class head that an encoder came with.

python -m experiments.tag --encoder beats+ FILE_OR_FOLDER ...
python -m experiments.tag --encoder eat --weights FILE_OR_NAME FOLDER --output OUT

Supervised variants (those with a "+") tell AudioSet's 527 classes apart. Prints the
classes with the highest scores of every recording; scores are sigmoids, each class for
itself. Recordings may be hours long: they are heard in overlapping windows. With
--output, OUT will hold

    tags.csv     the classes with the highest scores of every window:
                 file, start_s, end_s, class, score
    windows/     the scores of every class in every window, from which it is made

and a run that was stopped goes on; with another --top nothing is heard again. Files
that cannot be read are named, and the exit status is then 1.
"""

from __future__ import annotations

import contextlib
import csv
import io
import pathlib
import sys
from collections.abc import Callable, Generator, Iterable, Sequence

from absl import flags

from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.partial_results import pin_settings
from unmute_jax.inference.recordings.stream import expected, hear_all
from unmute_jax.inference.recordings.tagger import COLUMNS, Tag, Tagger, best, tags
from unmute_jax.inference.recordings.windows import find_recordings
from unmute_jax.io import writing

ENCODER = flags.DEFINE_string("encoder", None, "Which one: beats+, eat+, ...")
WEIGHTS = flags.DEFINE_string(
    "weights", None, "A file or a published name; by default that of the encoder."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
WINDOW = flags.DEFINE_float(
    "window", 10.0, "Seconds heard at a time; AudioSet's clips have 10."
)
OVERLAP = flags.DEFINE_float("overlap", 0.5, "Share of a window that two share.")
TOP = flags.DEFINE_integer(
    "top", 5, "Classes per recording, and per window in tags.csv.", lower_bound=1
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Windows heard at a time.")


def main(places: list[str]) -> None:
    """Listens, prints and writes."""
    if not places:
        raise InputError("say what to listen to: --encoder NAME FILE_OR_FOLDER ...")
    recordings = find_recordings(places)
    encoder = load_encoder(program.required(ENCODER), WEIGHTS.value)
    tagger = Tagger(encoder, WINDOW.value, BATCH_SIZE.value)
    cut = tagger.cut(OVERLAP.value)
    folder = pathlib.Path(OUTPUT.value).expanduser() if OUTPUT.value else None
    if folder is not None:
        pin_settings(folder, tagger.identity(cut))

    windows = folder / "windows" if folder else None
    total, done = expected(recordings, cut, windows)
    lines: list[str] = []
    errors: list[InputError] = []
    with (
        _table(folder) as add,
        progress("listening", total, unit="windows", done=done) as advance,
    ):
        for journal in hear_all(recordings, tagger, cut, windows, advance):
            if journal.error is not None:
                errors.append(journal.error)
                continue
            add(tag.row for tag in tags(journal, tagger.classes, TOP.value))
            lines.append(_line(best(journal, tagger.classes, TOP.value)))
    for line in lines:
        print(line)
    if folder is not None:
        print(f"everything is in {folder}/")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        sys.exit(1)


@contextlib.contextmanager
def _table(
    folder: pathlib.Path | None,
) -> Generator[Callable[[Iterable[Sequence[str]]], None]]:
    """Takes the rows of `tags.csv`, which is there when all have come."""
    if folder is None:
        yield lambda rows: None
        return
    with writing(folder / "tags.csv") as out:

        def add(rows: Iterable[Sequence[str]]) -> None:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            out.write(text.getvalue().encode())

        add([COLUMNS])
        yield add


def _line(found: list[Tag]) -> str:
    """`name: Dog 0.93 at 0-10 s, ...`."""
    parts = [f"{t.name} {t.score:.2f} at {t.start:g}-{t.end:g} s" for t in found]
    return f"{found[0].file}: {', '.join(parts)}"


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch_plain(main, __doc__)
