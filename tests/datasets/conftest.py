"""A miniature of ESC-50: its layout, its five folds, twelve of its classes."""

import csv
import dataclasses
import pathlib

import numpy as np
import pytest
import soundfile as sf

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
class Miniature:
    """A copy that a test may damage."""

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
        return x

    def edit_csv(self, old, new):
        text = self.csv.read_text()
        assert old in text
        self.csv.write_text(text.replace(old, new))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Every test starts with nothing prepared."""
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def miniature(tmp_path):
    return esc50(tmp_path / "files")


def esc50(folder):
    """Writes the miniature below a folder."""
    mini = Miniature(folder / "ESC-50-master")
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
