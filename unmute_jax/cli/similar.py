"""Lists the clips of a run's data set that sound like a recording (`--like`)."""

from __future__ import annotations

import pathlib

from absl import flags
from rich import box
from rich.table import Table
from rich.text import Text

from unmute_jax.cli import predict_options, program
from unmute_jax.cli.finished_run import open_its_encoder, open_trained
from unmute_jax.cli.predict_options import BATCH_SIZE, LIKE, OUTPUT, OVERLAP, TOP
from unmute_jax.console import print_table, say
from unmute_jax.errors import InputError, one_line
from unmute_jax.inference.clips_of_run import stores_of
from unmute_jax.inference.recordings.nearest import SimilarClip, as_csv, similar_clips
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.windows import find_recordings
from unmute_jax.io import write_atomically
from unmute_jax.results.trained import TrainedProbe

# The options of `predict_options` that have a meaning with --like.
USED = (BATCH_SIZE, LIKE, OUTPUT, OVERLAP, TOP)


def main(places: list[str]) -> None:
    """Prints the most similar clips, and writes them to a table."""
    _check_options(places)
    path = pathlib.Path(program.required(LIKE)).expanduser()
    if path.is_dir():
        raise InputError(f"--like={path}: is a folder; give one recording")
    (recording,) = find_recordings([path])
    trained = open_trained()
    encoder = open_its_encoder(trained)
    predictor = Predictor(trained, encoder, BATCH_SIZE.value)
    found = similar_clips(
        recording,
        predictor,
        predictor.windowing(OVERLAP.value),
        stores_of(trained, encoder, "every"),
        max(1, TOP.value),
    )
    print_table(_table(found, trained, path.name))
    if OUTPUT.value:
        table = pathlib.Path(OUTPUT.value).expanduser() / "similar.csv"
        write_atomically(table, as_csv(found))
        say(f"written to {table}")


def _check_options(places: list[str]) -> None:
    """Refuses what would have no effect.

    Raises:
        InputError: There are recordings, or options of predictions.
    """
    if places:
        raise InputError(
            f"unexpected argument {places[0]!r}: --like lists the clips of the run's "
            "data set that sound like CLIP, and takes no other recordings"
        )
    for flag in flags.FLAGS.flags_by_module_dict()[predict_options.__name__]:
        if flag.present and flag.name not in [used.name for used in USED]:
            raise InputError(f"--{flag.name} has no effect with --like: leave it out")


def _table(found: list[SimilarClip], trained: TrainedProbe, query: str) -> Table:
    table = Table(
        title=f"Clips of {one_line(trained.dataset)} that sound like {one_line(query)}",
        caption="Similarity: the cosine between means over tokens. Time: the part of "
        "the recording that the clip is most similar to.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("similarity", "time (s)"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("clip", "split", "classes"):
        table.add_column(name, overflow="fold")
    for one in found:
        table.add_row(
            f"{one.similarity:.4f}",
            f"{one.start:g}–{one.end:g}",
            *map(Text, map(one_line, (one.clip, one.split, ", ".join(one.classes)))),
        )
    return table
