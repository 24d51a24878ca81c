"""ESC-50 and its subset ESC-10: environmental sounds in five folds.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia
2015; https://github.com/karolpiczak/ESC-50. The layout is that of the official archive:
`meta/esc50.csv`, and `audio/` with the files that the csv names; copies in tables of
Hugging Face with the same columns are read, too. The published protocol
is cross-validation over the folds, which keep the clips of one recording together. Here
fold k is the test and fold k % 5 + 1 is for validation, so no fold selects the model
that it tests.
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
from jaxtyping import Float32

from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Files, Folder
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download, obtain
from unmute_jax.datasets.presented import Presented
from unmute_jax.datasets.table_copies import esc50_copy
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
# Indices of the classes of ESC-10, whose labels are 0 to 9 in this order.
ESC10_TARGETS = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)
CLIPS_PER_CLASS = 40

_ESC50 = DatasetInfo(
    name="esc50",
    title="ESC-50",
    task="single-label",
    classes=len(CLASSES),
    splits={f"fold{k}": 400 for k in range(1, FOLDS + 1)},
    protocol="fold k tests, k + 1 validates",
    layout="verified",
    checked="the official csv and files",
    files="the folder that holds meta/esc50.csv and audio/, the folder around it, the "
    "official zip, or its tables on Hugging Face (hf:ashraq/esc50, or their folder)",
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
        "without any download, the data set 'esc10' and configs/quickstart.py work "
        "from embedded clips",
    ),
)
_ESC10 = dataclasses.replace(
    _ESC50,
    name="esc10",
    title="ESC-10",
    classes=len(ESC10_TARGETS),
    splits={f"fold{k}": 80 for k in range(1, FOLDS + 1)},
    files="as esc50; by default the clips that come with this package",
    licence="CC BY 3.0",
    downloads=(),
    steps=(),
)
INFOS = (_ESC50, _ESC10)

_CSV = "meta/esc50.csv"
_COLUMNS = ("filename", "fold", "target", "category")
_SAMPLE = pathlib.Path(__file__).parents[1] / "assets" / "esc10"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CsvRow:
    """A clip as the csv describes it."""

    filename: str
    fold: int
    target: int
    category: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class EscCopy:
    """A copy of ESC-50 or of its subset ESC-10, complete or not.

    Attributes:
        source: Description of the copy, quoted in reports.
        files: Files of the copy.
        rows: Its clips in the order of the csv.
        targets: Index in ESC-50 of each of its classes, in the order of its labels.
    """

    source: str
    files: Files
    rows: tuple[CsvRow, ...]
    targets: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names from the csv, and the official ones of classes without a clip."""
        names = {row.target: row.category for row in self.rows}
        return tuple(names.get(target, CLASSES[target]) for target in self.targets)

    @property
    def notes(self) -> tuple[str, ...]:
        """A note if clips of the official release are missing."""
        official = len(self.targets) * CLIPS_PER_CLASS
        if len(self.rows) == official:
            return ()
        return (f"{len(self.rows)} of the official {official} clips",)

    def identity(self) -> dict[str, Any]:
        """Returns what changes when a clip or its description does."""
        return {
            "source": self.source,
            "rows": [dataclasses.astuple(row) for row in self.rows],
            "files": self.files.stamp(_audio(row) for row in self.rows),
        }

    def in_fold(self, fold: int) -> list[CsvRow]:
        """Returns the clips of a fold, which is numbered from 1."""
        return [row for row in self.rows if row.fold == fold]

    def read(
        self, row: CsvRow, sample_rate: int | None = None
    ) -> tuple[Float32[np.ndarray, " S"], int, str]:
        """Reads a clip.

        Args:
            row: The clip.
            sample_rate: Sample rate to resample to, in Hz; None for that of the file.

        Returns:
            The waveform, its sample rate in Hz, and the SHA-256 of the file.
        """
        data = self.files.read(_audio(row))
        x, rate = decode_audio(
            data, self.files.where(_audio(row)), sample_rate=sample_rate
        )
        return x, rate, hashlib.sha256(data).hexdigest()

    def check_complete(self) -> None:
        """Raises `InputError` if files that the csv names are missing."""
        names = [_audio(row) for row in self.rows]
        self.files.check_complete(names, self.files.where(_CSV))


class Esc50(ClipBuilder):
    """Builder of ESC-50 or ESC-10, with the splits fold1 to fold5.

    Args:
        copy: The copy to read.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: Sequence[tfds.core.BuilderConfig] = (
        tfds.core.BuilderConfig(name="esc50", description="all classes"),
        tfds.core.BuilderConfig(name="esc10", description="ten classes, CC BY"),
    )
    task = "single-label"
    citation = CITATION

    def __init__(self, copy: EscCopy, *, on_bad: OnBad):
        self._copy = copy
        info = _ESC10 if copy.targets == ESC10_TARGETS else _ESC50
        self.dataset_name = info.name
        self.licence = info.licence
        self.source = copy.source
        self.notes = copy.notes
        self.classes = copy.classes
        self.protocols = tuple(_protocol(fold) for fold in range(1, FOLDS + 1))
        super().__init__(on_bad=on_bad, config=self.dataset_name)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return self._copy.identity()

    def entries(self) -> Mapping[str, Sequence[CsvRow]]:
        """See `ClipBuilder`."""
        if self.on_bad == "fail":
            self._copy.check_complete()
        return {f"fold{k}": self._copy.in_fold(k) for k in range(1, FOLDS + 1)}

    def id_of(self, entry: CsvRow) -> str:
        """See `ClipBuilder`."""
        return pathlib.PurePosixPath(entry.filename).stem

    def groups(self) -> Mapping[str, str]:
        """Returns the recording of each clip, from FOLD-RECORDING-TAKE-TARGET."""
        names = [pathlib.PurePosixPath(row.filename).stem for row in self._copy.rows]
        parts = {name: name.split("-") for name in names}
        return {name: part[1] for name, part in parts.items() if len(part) == 4}

    def read_clip(self, entry: CsvRow) -> tuple[Clip, str]:
        """See `ClipBuilder`."""
        x, rate, digest = self._copy.read(entry)
        clip = Clip(
            id=self.id_of(entry),
            waveform=x,
            sample_rate=rate,
            labels=(self._copy.targets.index(entry.target),),
        )
        return clip, digest


def esc50(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> Esc50:
    """Makes the builder of all 50 classes; 600 MB are downloaded if there is no copy.

    Args:
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """
    return Esc50(_read_copy(obtain(_ESC50, data_dir, _find)), on_bad=on_bad)


def esc10(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> Esc50:
    """Makes the builder of the ten classes under CC BY.

    They are read from a copy of ESC-50 in `data_dir` or in the cache, otherwise from
    the embedded sample.

    Args:
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """
    cache = _ESC50.folder
    if data_dir is None and cache.exists() and (files := _find(cache)):
        return Esc50(_read_copy(files, ESC10_TARGETS), on_bad=on_bad)
    return Esc50(esc10_copy(data_dir), on_bad=on_bad)


def esc10_copy(data_dir: str | os.PathLike[str] | None) -> EscCopy:
    """Returns ESC-10 from `data_dir`, or the embedded sample if that is None."""
    if data_dir is not None:
        return _read_copy(obtain(_ESC50, data_dir, _find), ESC10_TARGETS)
    sample = Folder(_SAMPLE)
    return _read_copy(sample, ESC10_TARGETS, source="ESC-10 sample (16 kHz Ogg)")


def _find(place: pathlib.Path) -> Files | None:
    return find_files(place, _CSV) or esc50_copy(place, CLASSES)


def _read_copy(
    files: Files,
    targets: Sequence[int] = tuple(range(len(CLASSES))),
    source: str | None = None,
) -> EscCopy:
    rows = tuple(row for row in _rows(files) if row.target in targets)
    for fold in range(1, FOLDS + 1):
        if not any(row.fold == fold for row in rows):
            raise InputError(f"{files.where(_CSV)}: fold {fold} has no clips")
    if source is None and isinstance(files, Presented):
        source = f"ESC-50 copy in tables ({files.root.name})"
    if source is None:
        kinds = sorted({pathlib.PurePosixPath(row.filename).suffix for row in rows})
        name = "ESC-10" if targets == ESC10_TARGETS else "ESC-50"
        whole = len(rows) == len(targets) * CLIPS_PER_CLASS and kinds == [".wav"]
        source = f"official {name}" if whole else f"{name} copy ({', '.join(kinds)})"
    return EscCopy(source=source, files=files, rows=rows, targets=tuple(targets))


def _rows(files: Files) -> list[CsvRow]:
    """Reads and checks all lines of the csv."""
    where = files.where(_CSV)
    rows = [_row(line) for line in read_table(files, _CSV, _COLUMNS)]
    if repeated := _repeated(row.filename for row in rows):
        raise InputError(f"{where}: names {repeated[0]} more than once")
    pairs = {(row.target, row.category) for row in rows}
    if repeated := _repeated(target for target, _ in pairs):
        raise InputError(f"{where}: target {repeated[0]} has more than one category")
    if repeated := _repeated(category for _, category in pairs):
        raise InputError(f"{where}: category {repeated[0]} has more than one target")
    return rows


def _row(line: Line) -> CsvRow:
    fold, target = line["fold"], line["target"]
    if fold not in map(str, range(1, FOLDS + 1)):
        raise InputError(f"{line.where}: fold is {fold!r}, not 1 to {FOLDS}")
    if target not in map(str, range(len(CLASSES))):
        raise InputError(
            f"{line.where}: target is {target!r}, not 0 to {len(CLASSES) - 1}"
        )
    return CsvRow(
        filename=line["filename"],
        fold=int(fold),
        target=int(target),
        category=line["category"],
    )


def _repeated(values: Iterable[Any]) -> list[Any]:
    counts = collections.Counter(values)
    return sorted(value for value, count in counts.items() if count > 1)


def _audio(row: CsvRow) -> str:
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
