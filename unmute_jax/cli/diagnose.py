"""Shows what the prototypes of a trained probe have become.

unmute diagnose --workdir RUN --output OUT

The command passes over the training clips once and writes

    OUT/diagnostics.html   a page that shows whether prototypes are copies of each
                           other, whether some of them match no token, and which
                           sounds the others match: the nearest training clips can be
                           heard and seen, and all clips are points of a map
    OUT/diagnostics.json   the numbers of every prototype

It uses the tokens that training cached, and computes them again if they are gone.
"""

from __future__ import annotations

import json
import pathlib

from absl import flags

from unmute_jax.cli import program
from unmute_jax.cli.finished_run import open_its_source, open_trained
from unmute_jax.errors import InputError
from unmute_jax.io import write_atomically

USAGE = "--workdir=RUN --output=FOLDER [--OPTION=VALUE ...]"
OUTPUT = flags.DEFINE_string("output", None, "The folder to write to.")
NEAREST = flags.DEFINE_integer(
    "nearest", 5, "The number of clips to list for each prototype."
)


def main(arguments: list[str]) -> None:
    """Writes the diagnosis and prints the numbers that sum it up."""
    program.only_options(arguments)
    if NEAREST.value < 1:
        raise InputError(f"--nearest must be at least 1, not {NEAREST.value}")
    folder = pathlib.Path(program.required(OUTPUT)).expanduser()
    with program.importing():
        from unmute_jax.inference.clip_map import map_section
        from unmute_jax.inference.clips_of_run import batches_of, dataset_of, stores_of
        from unmute_jax.inference.diagnose import diagnose
        from unmute_jax.inference.diagnose_page import page
        from unmute_jax.inference.excerpts import listening_section
        from unmute_jax.inference.explain import check_prototypical

    trained = open_trained()
    check_prototypical(trained.probe)
    dataset = dataset_of(trained)
    encoder = open_its_source(trained)
    stores = stores_of(trained, encoder, "train", dataset=dataset)
    batches = batches_of(trained, stores, "diagnosing")
    found = diagnose(trained, batches, nearest=NEAREST.value)
    text = json.dumps(found.to_dict(), indent=1)
    write_atomically(folder / "diagnostics.json", text)
    parts = (listening_section(trained, found, dataset), map_section(stores, dataset))
    sections = [part for part in parts if part is not None]
    write_atomically(folder / "diagnostics.html", page(trained, found, sections))
    print(
        f"{found.size[0]} prototypes, {found.clips} clips, {found.tokens} tokens\n"
        f"cosines of pairs: standard deviation {found.shape.deviation:.3f}, largest "
        f"{found.shape.largest:.3f} (random signs {found.random.deviation:.3f}, "
        f"{found.random.largest:.3f})\n"
        f"effective rank {found.shape.rank:.1f} (random signs {found.random.rank:.1f})"
        f"\nnearest to no token: {100 * found.never:.1f} % of the prototypes\n"
        f"written to {folder}/diagnostics.html and .json"
    )


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        main(arguments)
