"""Fixtures: an ESC-50 miniature that a test may damage, and miniatures to read."""

import csv
import dataclasses
import functools
import pathlib

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.miniatures import MINIATURES
from unmute_jax.datasets import load_dataset

CLASSES = {
    0: "dog",
    1: "rooster",
    2: "pig",
    10: "rain",
    11: "sea_waves",
    12: "crackling_fire",
    20: "crying_baby",
    21: "sneezing",
    38: "clock_tick",
    40: "helicopter",
    41: "chainsaw",
    49: "hand_saw",
}
RATE = 44_100
SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Esc50Miniature:
    """The layout and the folds of ESC-50 with twelve of its classes."""

    root: pathlib.Path

    @property
    def csv(self):
        return self.root / "meta" / "esc50.csv"

    def audio(self, name):
        return self.root / "audio" / name

    def write(self, name, seed):
        rng = np.random.default_rng(seed)
        x = rng.integers(-9000, 9000, round(SECONDS * RATE)).astype(np.int16)
        sf.write(self.audio(name), x, RATE)

    def edit_csv(self, old, new):
        text = self.csv.read_text()
        assert old in text
        self.csv.write_text(text.replace(old, new))


def esc50(folder):
    """Writes the miniature of ESC-50 below a folder."""
    mini = Esc50Miniature(folder / "ESC-50-master")
    (mini.root / "audio").mkdir(parents=True)
    (mini.root / "meta").mkdir()
    with mini.csv.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("filename fold target category esc10 src_file take".split())
        for fold in range(1, 6):
            for target, category in CLASSES.items():
                source = 1000 * fold + target
                name = f"{fold}-{source}-A-{target}.wav"
                is_esc10 = target not in (2, 49)
                writer.writerow([name, fold, target, category, is_esc10, source, "A"])
                mini.write(name, source)
    return mini


@pytest.fixture
def miniature(tmp_path):
    return esc50(tmp_path / "files")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Every test starts with nothing prepared."""
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def place_of(tmp_path_factory):
    """Writes the miniature of a layout once, for all tests that only read it."""
    root = tmp_path_factory.mktemp("miniatures")

    @functools.cache
    def written(make):
        return make(root / make.__name__)

    return lambda name: written(MINIATURES[name].make)


@pytest.fixture(scope="session")
def loaded(place_of, tmp_path_factory):
    """Loads a miniature once, for all tests that only read it."""
    cache = tmp_path_factory.mktemp("cache")

    @functools.cache
    def load(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNMUTE_CACHE", str(cache))
            return load_dataset(name, data_dir=place_of(name))

    return load
