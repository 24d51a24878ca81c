"""ESC-mix: a multi-label data set of ten classes, mixed from the clips of ESC-10.

Its clips are mixtures of ten seconds with known events (see `mixing`). The sources come
from folds 1 to 3 for training, from fold 4 for validation and from fold 5 for the test,
so no recording is in two splits. By default they are the embedded clips of ESC-10, and
nothing is downloaded.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from unmute_jax.datasets import esc50, mixing
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.clips import Clip, round_to_16_bits
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.errors import InputError

INFOS = (
    DatasetInfo(
        name="esc_mix",
        title="ESC-mix, mixtures of ESC-10",
        task="multi-label",
        classes=len(esc50.ESC10_TARGETS),
        splits={"train": 1000, "validation": 400, "test": 400},
        protocol="sources of folds 1-3, 4, 5",
        layout="verified",
        checked="the layout of ESC-50",
        files="as esc50; by default the clips that come with this package",
        licence="CC BY 3.0 (mixtures of ESC-10)",
        citation=esc50.CITATION,
        home="https://github.com/karolpiczak/ESC-50",
        has_events=True,
    ),
)
FOLDS = {"train": (1, 2, 3), "validation": (4,), "test": (5,)}


class MixtureEntry(NamedTuple):
    """A mixture that has not been made yet."""

    id: str
    mixer: mixing.Mixer
    number: int


class EscMix(ClipBuilder):
    """Builder of mixtures of the clips of a copy of ESC-10.

    Args:
        copy: Copy of ESC-10 with the sources.
        clips: Number of mixtures of each split.
        seed: Seed of the mixtures.
        on_bad: Treatment of unreadable sources; see `load_dataset`.
    """

    VERSION = tfds.core.Version("1.0.0")
    dataset_name = INFOS[0].name
    task = INFOS[0].task
    has_events = INFOS[0].has_events
    licence = INFOS[0].licence
    citation = INFOS[0].citation
    protocols = (
        Protocol(
            name=INFOS[0].protocol,
            train=("train",),
            validation=("validation",),
            test=("test",),
        ),
    )

    def __init__(
        self, copy: esc50.EscCopy, *, clips: dict[str, int], seed: int, on_bad: OnBad
    ):
        self._copy = copy
        self._clips = clips
        self._seed = seed
        self.classes = copy.classes
        self.source = f"mixed from {copy.source}, seed {seed}"
        self.notes = copy.notes
        super().__init__(on_bad=on_bad)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {"clips": self._clips, "seed": self._seed, **self._copy.identity()}

    def entries(self) -> Mapping[str, Sequence[MixtureEntry]]:
        """See `ClipBuilder`."""
        if self.on_bad == "fail":
            self._copy.check_complete()
        return {
            split: [
                MixtureEntry(f"{split}-{number:05d}", mixer, number)
                for number in range(self._clips[split])
            ]
            for split, mixer in self.mixers().items()
        }

    def longest_known(self) -> float:
        """See `ClipBuilder`."""
        return float(mixing.SECONDS)

    def read_clip(self, entry: MixtureEntry) -> tuple[Clip, str]:
        """Makes a mixture."""
        mixture = entry.mixer.mix(entry.number)
        clip = Clip(
            id=entry.id,
            # The rounded samples take half the space.
            waveform=round_to_16_bits(mixture.waveform),
            sample_rate=mixing.SAMPLE_RATE,
            labels=mixture.labels,
            events=mixture.events,
        )
        return clip, mixture.digest

    def mixers(self) -> dict[str, mixing.Mixer]:
        """Returns the mixer of each split, with the sources of its own folds."""
        mixers: dict[str, mixing.Mixer] = {}
        for index, (split, folds) in enumerate(FOLDS.items()):
            rows = [row for fold in folds for row in self._copy.in_fold(fold)]
            sounds = [self.attempt(self._read_sound, row) for row in rows]
            mixers[split] = mixing.Mixer(
                [sound for sound in sounds if sound is not None],
                classes=len(self.classes),
                seed=self._seed,
                split=index,
            )
        return mixers

    def _read_sound(self, row: esc50.CsvRow) -> mixing.Sound:
        x, _, digest = self._copy.read(row, mixing.SAMPLE_RATE)
        x = mixing.trim(x)
        if not len(x):
            raise InputError(f"{row.filename}: is silent")
        return mixing.Sound(
            label=self._copy.targets.index(row.target), waveform=x, digest=digest
        )


def esc_mix(
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    train_clips: int = 1000,
    validation_clips: int = 400,
    test_clips: int = 400,
    seed: int = 0,
) -> EscMix:
    """Makes the builder of mixtures.

    A clip depends only on the seed, its split and its index, so a larger data set has
    the same clips and more.

    Args:
        data_dir: Place of a copy of ESC-50 or ESC-10; by default the embedded clips are
            mixed.
        on_bad: Treatment of unreadable sources; see `load_dataset`.
        train_clips: Number of training clips.
        validation_clips: Number of validation clips.
        test_clips: Number of test clips.
        seed: Seed of the mixtures. Another seed gives other mixtures of the same
            sources.
    """
    clips = {"train": train_clips, "validation": validation_clips, "test": test_clips}
    for split, count in clips.items():
        if count < 1:
            raise InputError(f"esc_mix: {split}_clips is {count}, not 1 or more")
    if seed < 0:
        raise InputError(f"esc_mix: seed is {seed}, not 0 or more")
    copy = esc50.esc10_copy(data_dir)
    return EscMix(copy, clips=clips, seed=seed, on_bad=on_bad)
