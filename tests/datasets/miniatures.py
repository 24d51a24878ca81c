"""A miniature of every published layout, and what must be read from it."""

import pytest

from tests.datasets import layouts
from unmute_jax.datasets import load_dataset
from unmute_jax.errors import InputError


def refusal(name, **options):
    """Returns the message of a load that fails."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    return str(caught.value)


def clips(dataset):
    """Returns all clips by split."""
    return {split: list(dataset.source_of(split)) for split in dataset.splits}


def by_id(dataset):
    """Returns all clips by id."""
    return {clip.id: clip for found in clips(dataset).values() for clip in found}


def class_names(dataset, clip):
    """Returns the names of the classes of a clip."""
    return {dataset.classes[c] for c in clip.labels}


class Miniature:
    """A layout with seconds of noise.

    Attributes:
        make: Writes it below a folder and returns what a user would name.
        splits: Number of clips that must be read from each split.
    """

    def __init__(self, make, train, validation, test):
        self.make = make
        self.splits = {"train": train, "validation": validation, "test": test}


# ESC-50, whose splits are folds, has a miniature in `conftest`. The other subsets of
# BirdSet and scenes of SPASS are laid out like those below.
MINIATURES = {
    "as20k": Miniature(layouts.as20k, 8, 2, 3),
    "as20k/segments": Miniature(layouts.as20k_segments, 7, 1, 1),
    "desed": Miniature(layouts.desed, 8, 2, 1),
    "desed/fl": Miniature(layouts.desed_fl, 6, 2, 3),
    "fsd50k": Miniature(layouts.fsd50k, 2, 1, 2),
    "fsdd": Miniature(layouts.fsdd, 20, 20, 20),
    "hsn": Miniature(layouts.birdset, 7, 2, 2),
    "hsn/64shot": Miniature(layouts.birdset, 4, 1, 2),
    "sc2": Miniature(layouts.sc2, 35, 35, 35),
    "sc2/twelve": Miniature(layouts.sc2_twelve, 38, 37, 12),
    "spass": Miniature(layouts.spass, 70, 5, 25),
    "spass/waterfront": Miniature(layouts.spass, 14, 1, 5),
    "urban": Miniature(layouts.urban, 2, 2, 3),
}
