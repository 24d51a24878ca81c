"""A miniature of every published layout, and what must be read of it.

`python -m tests.datasets.miniatures` prints a table of them.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable

import pytest

from tests.datasets import layouts
from tests.datasets.conftest import esc50
from unmute_jax.datasets import dataset_infos, load_dataset
from unmute_jax.errors import InputError


def load(name, tmp_path, **options):
    """The data set of a miniature."""
    return load_dataset(name, data_dir=MINIATURES[name].make(tmp_path), **options)


def refusal(name, **options):
    """The message of a load that fails."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    return str(caught.value)


def clips(dataset):
    """Everything in it, by split."""
    return {split: list(dataset.source_of(split)) for split in dataset.splits}


@dataclasses.dataclass(frozen=True)
class Miniature:
    """What a layout looks like.

    Attributes:
        make: Writes it below a folder and returns what a person would name.
        covers: Its irregularities.
        splits: What must be read of it.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    covers: str
    splits: dict[str, int]


MINIATURES = {
    "as20k": Miniature(
        layouts.as20k,
        "several tables, groups of rows, rates from 16 to 48 kHz, clips of 0.2 and of "
        "10.1 s, a label twice",
        {"train": 8, "validation": 2, "test": 3},
    ),
    "as20k/segments": Miniature(
        layouts.as20k_segments,
        "comments, quoted labels with commas after a space, videos that are gone, ids "
        "that begin with Y or a dash, spaces in folders",
        {"train": 7, "validation": 1, "test": 1},
    ),
    "desed": Miniature(
        layouts.desed,
        "silent clips, weak and strong lists that share a clip, unlabelled clips, a "
        "list whose folder has another name, videos that are gone, equal names in two "
        "lists, an event that ends too early",
        {"train": 8, "validation": 2, "test": 1},
    ),
    "desed/fl": Miniature(
        layouts.desed_fl, "none known", {"train": 6, "validation": 2, "test": 3}
    ),
    "fsd50k": Miniature(
        layouts.fsd50k,
        "quoted labels with commas, CRLF, parentheses, a known broken clip, a row "
        "twice, clips of 0.2 and of 10.2 s, half of it in a zip",
        {"train": 2, "validation": 1, "test": 2},
    ),
    "spass": Miniature(
        layouts.spass,
        "spaces in names, a row per source, unread columns with quotes, CRLF, clips "
        "that are not 10 s long",
        {"train": 70, "validation": 5, "test": 25},
    ),
    "spass/waterfront": Miniature(
        layouts.spass,
        "as spass",
        {"train": 14, "validation": 1, "test": 5},
    ),
    "urban": Miniature(
        layouts.urban,
        "tabs and spaces, CRLF, blank lines, an empty annotation, a class twice, a "
        "soundscape without annotation",
        {"train": 2, "validation": 2, "test": 3},
    ),
    "fsdd": Miniature(
        layouts.fsdd,
        "a file with another name, clips of 0.14 s",
        {"train": 40, "validation": 40, "test": 40},
    ),
    "hsn": Miniature(
        layouts.birdset,
        "archives with other folders inside, a recording that is gone, no events, "
        "noise, events within others, species that are no class, windows without one",
        {"train": 7, "validation": 2, "test": 2},
    ),
    "hsn/64shot": Miniature(
        layouts.birdset,
        "as hsn; classes with fewer clips than shots",
        {"train": 4, "validation": 1, "test": 2},
    ),
    "sc2": Miniature(
        layouts.sc2,
        "lists with CRLF and clips that are not there, short clips, noise beside words",
        {"train": 35, "validation": 35, "test": 35},
    ),
    "sc2/twelve": Miniature(
        layouts.sc2_twelve,
        "two tar archives that share names, silence cut from long recordings",
        {"train": 38, "validation": 37, "test": 12},
    ),
}


# Their splits are folds; they have tests of their own. The other subsets of BirdSet and
# scenes of SPASS are laid out like those above.
FOLDS = {
    name: Miniature(lambda folder: esc50(folder).root, covers, {})
    for name, covers in {
        "esc50": "targets with gaps, missing clips, other formats and rates",
        "esc10": "as esc50; targets become labels without gaps",
    }.items()
}


def main():
    """Prints the table."""
    print("| data set | layout | source | clips | classes | irregularities |")
    print("|---|---|---|---|---:|---|")
    info = {i.name: i for i in dataset_infos()}
    for name, miniature in {**FOLDS, **MINIATURES}.items():
        with tempfile.TemporaryDirectory() as folder:
            # Nothing of this belongs into the caches of a person.
            os.environ["UNMUTE_CACHE"] = folder
            place = miniature.make(pathlib.Path(folder))
            dataset = load_dataset(name, data_dir=place)
        clips = " / ".join(str(n) for n in dataset.splits.values())
        print(
            f"| `{name}` | {info[name].layout} | {info[name].checked} | {clips} "
            f"| {len(dataset.classes)} | {miniature.covers} |"
        )


if __name__ == "__main__":
    main()
