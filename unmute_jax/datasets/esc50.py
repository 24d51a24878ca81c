"""ESC-50 and its subset ESC-10: environmental sounds in five folds.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia
2015; https://github.com/karolpiczak/ESC-50. The layout is that of the official archive:
`meta/esc50.csv`, and `audio/` with the files that the csv names. The published protocol
is cross-validation over the folds, which keep the clips of one recording together. Here
fold k is reported and fold k % 5 + 1 selects, so no score is chosen by itself.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from unmute_jax.audio.decode import decode_audio
from unmute_jax.audio.resample import resample
from unmute_jax.datasets.base import ClipBuilder, OnBad, Recording
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Files, Folder
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download, obtain
from unmute_jax.datasets.tables import Line, read_table
from unmute_jax.errors import InputError

CITATION = (
    "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, "
    "ACM Multimedia 2015"
)
FOLDS = 5
CLASSES = (
    "dog rooster pig cow frog cat hen insects sheep crow rain sea_waves crackling_fire "
    "crickets chirping_birds water_drops wind pouring_water toilet_flush thunderstorm "
    "crying_baby sneezing clapping breathing coughing footsteps laughing "
    "brushing_teeth snoring drinking_sipping door_wood_knock mouse_click "
    "keyboard_typing door_wood_creaks can_opening washing_machine vacuum_cleaner "
    "clock_alarm clock_tick glass_breaking helicopter chainsaw siren car_horn engine "
    "train church_bells airplane fireworks hand_saw"
).split()
# The classes of ESC-10, re-indexed from 0 in this order.
ESC10_TARGETS = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)
CLIPS_PER_CLASS = 40

FACTS = (
    DatasetInfo(
        name="esc50",
        title="ESC-50",
        task="single-label",
        classes=len(CLASSES),
        splits={f"fold{k}": 400 for k in range(1, FOLDS + 1)},
        protocol="fold k tests, k + 1 validates",
        layout="verified",
        checked="the official csv and files",
        files="the folder that holds meta/esc50.csv and audio/, the folder around it, "
        "or the official zip",
        licence="CC BY-NC 3.0 (non-commercial)",
        citation=CITATION,
        home="https://github.com/karolpiczak/ESC-50",
        downloads=(
            Download(
                url="https://github.com/karoldvl/ESC-50/archive/master.zip",
                name="ESC-50-master.zip",
                megabytes=600,
            ),
        ),
        steps=(
            "with no download at all, the data set 'esc10' and configs/quickstart.py "
            "work from embedded clips",
        ),
    ),
    DatasetInfo(
        name="esc10",
        title="ESC-10",
        task="single-label",
        classes=len(ESC10_TARGETS),
        splits={f"fold{k}": 80 for k in range(1, FOLDS + 1)},
        protocol="fold k tests, k + 1 validates",
        layout="verified",
        checked="the official csv and files",
        files="as esc50; by default the clips that come with this package",
        licence="CC BY 3.0",
        citation=CITATION,
        home="https://github.com/karolpiczak/ESC-50",
    ),
)

_CSV = "meta/esc50.csv"
_COLUMNS = ("filename", "fold", "target", "category")
_SAMPLE = pathlib.Path(__file__).parents[1] / "assets" / "esc10"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What a line of the csv says of a clip."""

    filename: str
    fold: int
    target: int
    category: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of ESC-50 or of its subset ESC-10, complete or not.

    Attributes:
        source: What reports call it.
        files: Where it is.
        rows: Its clips in the order of the csv.
        targets: The ESC-50 indices of its classes, in the order of its labels.
    """

    source: str
    files: Files
    rows: tuple[Row, ...]
    targets: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label: as the csv has them, the official ones for absent classes."""
        named = {row.target: row.category for row in self.rows}
        return tuple(named.get(target, CLASSES[target]) for target in self.targets)

    @property
    def notes(self) -> tuple[str, ...]:
        """Says where clips of the official release are missing."""
        official = len(self.targets) * CLIPS_PER_CLASS
        if len(self.rows) == official:
            return ()
        return (f"{len(self.rows)} of the official {official} clips",)

    def identity(self) -> dict[str, Any]:
        """What changes when a clip or its description does."""
        return {
            "source": self.source,
            "rows": [dataclasses.astuple(row) for row in self.rows],
            "files": self.files.stamp(_audio(row) for row in self.rows),
        }

    def in_fold(self, fold: int) -> list[Row]:
        """The clips of a fold, from 1."""
        return [row for row in self.rows if row.fold == fold]

    def read(
        self, row: Row, sample_rate: int | None = None
    ) -> tuple[np.ndarray, int, str]:
        """The waveform of a clip, its rate, and the SHA-256 of its file."""
        data = self.files.read(_audio(row))
        x, rate = decode_audio(
            data, self.files.where(_audio(row)), sample_rate=sample_rate
        )
        return x, rate, hashlib.sha256(data).hexdigest()

    def check_complete(self) -> None:
        """Raises when files that the csv names are not there."""
        if missing := self.files.missing(_audio(row) for row in self.rows):
            raise InputError(
                f"{self.files.where(_CSV)}: {len(missing)} of the {len(self.rows)} "
                f"clips it names are missing, the first is {missing[0]}"
            )


class Esc50(ClipBuilder):
    """A copy of ESC-50, or of ESC-10, as splits fold1 to fold5."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: Sequence[tfds.core.BuilderConfig] = (
        tfds.core.BuilderConfig(name="esc50", description="all classes"),
        tfds.core.BuilderConfig(name="esc10", description="ten classes, CC BY"),
    )
    task = "single-label"
    citation = CITATION

    def __init__(self, copy: Copy, *, on_bad: OnBad):
        self._copy = copy
        is_subset = copy.targets == ESC10_TARGETS
        self.dataset_name = "esc10" if is_subset else "esc50"
        self.licence = FACTS[is_subset].licence
        self.source = copy.source
        self.notes = copy.notes
        self.classes = copy.classes
        self.protocols = tuple(_protocol(fold) for fold in range(1, FOLDS + 1))
        super().__init__(on_bad=on_bad, config=self.dataset_name)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return self._copy.identity()

    def entries(self) -> Mapping[str, Sequence[Row]]:
        """The rows of the csv by fold."""
        if self.on_bad == "fail":
            self._copy.check_complete()
        return {f"fold{k}": self._copy.in_fold(k) for k in range(1, FOLDS + 1)}

    def groups(self) -> Mapping[str, str]:
        """The recordings that clips were cut from: FOLD-RECORDING-TAKE-TARGET."""
        names = [pathlib.PurePosixPath(row.filename).stem for row in self._copy.rows]
        parts = {name: name.split("-") for name in names}
        return {name: part[1] for name, part in parts.items() if len(part) == 4}

    def record(self, entry: Row) -> Recording:
        """Reads a clip; the first one decides the rate of all."""
        x, rate, digest = self._copy.read(entry)
        self.sample_rate = self.sample_rate or rate
        return Recording(
            id=pathlib.PurePosixPath(entry.filename).stem,
            waveform=resample(x, rate, self.sample_rate),
            labels=(self._copy.targets.index(entry.target),),
            digest=digest,
        )


def esc50(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> ClipBuilder:
    """All 50 classes; fetched from its home (600 MB) where no copy is found."""
    return Esc50(_copy(obtain(FACTS[0], data_dir, _find)), on_bad=on_bad)


def esc10(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> ClipBuilder:
    """The ten classes under CC BY: from a copy of ESC-50, or the embedded sample."""
    return Esc50(esc10_copy(given(data_dir) or _cached()), on_bad=on_bad)


def esc10_copy(files: Files | None) -> Copy:
    """ESC-10 from the given files, or the sample that comes with this package."""
    if files is None:
        return _copy(
            Folder(_SAMPLE), ESC10_TARGETS, source="ESC-10 sample (16 kHz Ogg)"
        )
    return _copy(files, ESC10_TARGETS)


def given(data_dir: str | os.PathLike[str] | None) -> Files | None:
    """The copy in `data_dir`; None if that is None."""
    return None if data_dir is None else obtain(FACTS[0], data_dir, _find)


def _cached() -> Files | None:
    place = FACTS[0].folder
    return _find(place) if place.exists() else None


def _find(place: pathlib.Path) -> Files | None:
    return find_files(place, _CSV)


def _copy(
    files: Files,
    targets: Sequence[int] = tuple(range(len(CLASSES))),
    source: str | None = None,
) -> Copy:
    rows = tuple(row for row in _rows(files) if row.target in targets)
    for fold in range(1, FOLDS + 1):
        if not any(row.fold == fold for row in rows):
            raise InputError(f"{files.where(_CSV)}: fold {fold} has no clips")
    if source is None:
        kinds = sorted({pathlib.PurePosixPath(row.filename).suffix for row in rows})
        name = "ESC-10" if targets == ESC10_TARGETS else "ESC-50"
        whole = len(rows) == len(targets) * CLIPS_PER_CLASS and kinds == [".wav"]
        source = f"official {name}" if whole else f"{name} copy ({', '.join(kinds)})"
    return Copy(source=source, files=files, rows=rows, targets=tuple(targets))


def _rows(files: Files) -> list[Row]:
    """All lines of the csv, checked."""
    where = files.where(_CSV)
    rows = [_row(line) for line in read_table(files, _CSV, _COLUMNS)]
    if twice := _duplicates(row.filename for row in rows):
        raise InputError(f"{where}: names {twice[0]} more than once")
    pairs = {(row.target, row.category) for row in rows}
    if twice := _duplicates(target for target, _ in pairs):
        raise InputError(f"{where}: target {twice[0]} has more than one category")
    if twice := _duplicates(category for _, category in pairs):
        raise InputError(f"{where}: category {twice[0]} has more than one target")
    return rows


def _row(line: Line) -> Row:
    fold, target = line["fold"], line["target"]
    if fold not in map(str, range(1, FOLDS + 1)):
        raise InputError(f"{line.where}: fold is {fold!r}, not 1 to {FOLDS}")
    if target not in map(str, range(len(CLASSES))):
        raise InputError(
            f"{line.where}: target is {target!r}, not 0 to {len(CLASSES) - 1}"
        )
    return Row(
        filename=line["filename"],
        fold=int(fold),
        target=int(target),
        category=line["category"],
    )


def _duplicates(values: Iterable[Any]) -> list[Any]:
    counts = collections.Counter(values)
    return sorted(value for value, count in counts.items() if count > 1)


def _audio(row: Row) -> str:
    return f"audio/{row.filename}"


def _protocol(fold: int) -> Protocol:
    validation = fold % FOLDS + 1
    rest = [k for k in range(1, FOLDS + 1) if k not in (fold, validation)]
    return Protocol(
        name=f"test fold {fold}",
        train=tuple(f"fold{k}" for k in rest),
        validation=(f"fold{validation}",),
        test=(f"fold{fold}",),
    )
