"""Seven subsets of BirdSet: training on focal recordings, testing on soundscapes.

L. Rauch et al., "BirdSet: A Large-Scale Dataset for Audio Classification in Avian
Bioacoustics", ICLR 2025; on Hugging Face, `DBD-research-group/BirdSet`. The folder of a
subset holds `HSN_metadata_train.parquet` and `HSN_metadata_test_5s.parquet`, and
archives `HSN_train_shard_0001.tar.gz` and `HSN_test5s_shard_0001.tar.gz` with the Ogg
files that the tables name, in any folder of an archive.

`hsn` has one clip of five seconds per training recording, around its primary event;
`hsn/64shot` has up to 64 clips per class (see `few_shot`). The five-second windows of
the test are as published; those without a bird have no label.
"""

from __future__ import annotations

import collections
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from unmute_jax.audio.resample import pad_or_crop, resample
from unmute_jax.datasets import few_shot
from unmute_jax.datasets import mixup as mixing
from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.birdset_subsets import (
    FEWEST_TO_SPLIT,
    INFOS,
    classes_of,
    few_shot_info,
    info_of,
)
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_all
from unmute_jax.datasets.parquet import read_rows
from unmute_jax.datasets.table_copies import birdset_copy
from unmute_jax.errors import InputError

__all__ = ["INFOS", "BirdSet"]

_OPTIONAL_COLUMNS = {
    "detected_events",
    "ebird_code_multilabel",
    "ebird_code_secondary",
    "event_cluster",
    "length",
}


class BirdSet(FileBuilder):
    """Builder of a subset with all of its recordings or with a few clips per class.

    Args:
        subset: Name of the subset in capitals.
        default_shots: Number of clips per class if `shots` is 0; 0 takes one clip of
            every recording.
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
        shots: Another number of clips per class.
        seed: Seed of the events of a recording and the recordings of a class that are
            drawn; Bird-MAE uses 1, 2 and 3.
        strict: Whether few-shot clips come only from recordings of at most five
            seconds.
        fill_up: Whether other recordings complete classes with too few of them.
        mixup: Number of mixed copies of each training clip, in splits of their own.
    """

    def __init__(
        self,
        subset: str,
        default_shots: int,
        data_dir: str | os.PathLike[str] | None = None,
        on_bad: OnBad = "fail",
        *,
        shots: int = 0,
        seed: int = 1,
        strict: bool = False,
        fill_up: bool = False,
        mixup: int = 0,
    ):
        for name, value in {"shots": shots, "seed": seed, "mixup": mixup}.items():
            if value < 0:
                raise InputError(f"{subset.lower()}: {name} is {value}, not 0 or more")
        self._subset = subset
        self._shots = shots or default_shots
        self._seed, self._copies = seed, mixup
        self._strict, self._fill_up = strict, fill_up
        self.classes = classes_of(subset)
        info = info_of(subset)
        self.dataset_info = few_shot_info(info, self._shots) if self._shots else info
        super().__init__(data_dir, on_bad)

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        inner = place / self._subset
        table = f"{self._subset}_metadata_train.parquet"
        files = find_all(
            inner if inner.is_dir() else place,
            (table, "*.ogg", "*/*.ogg"),
            (f"{self._subset}_*.tar.gz",),
        )
        if files and not files.missing([table]):
            return files
        return birdset_copy(place, self._subset, self.classes)

    def layout(self) -> Splits:
        """Reads the tables and chooses training clips."""
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        self._path_of = {p.name: str(p) for p in paths if p.suffix == ".ogg"}
        recordings = self._recordings()
        train = self._clips(self._choose(recordings))
        splits: Splits = {"train": train, "test": self._test()}
        if 0 < self._shots < FEWEST_TO_SPLIT:
            used = {entry.group for entry in train}
            spare = [r for r in recordings if r.name not in used]
            more = few_shot.choose(spare, 1, seed=self._seed, strict=self._strict)
            splits["validation"] = self._clips(more)
        if self._shots:
            counts = collections.Counter(c for e in train for c in e.labels)
            few = sum(counts[c] < self._shots for c in range(len(self.classes)))
            self.remarks.append(f"{few} classes have fewer than {self._shots} clips")
            kind = "strict" if self._strict else "lenient"
            filled = ", filled up" if self._fill_up else ""
            self.protocol_name += f" ({kind}{filled}, seed {self._seed})"
        return splits

    def complete(self, splits: Splits) -> Splits:
        """Adds a validation split by rule, and mixed copies of the training clips."""
        splits = super().complete(splits)
        for variant in range(1, self._copies + 1):
            copies = mixing.mixed_copies(splits["train"], variant, self._seed)
            splits[f"mixup{variant}"] = list(copies)
        return splits

    def read_waveform(
        self, entry: FileEntry
    ) -> tuple[Float32[np.ndarray, " S"], int, str]:
        """Reads a clip; a mixed copy is made of several and lasts five seconds."""
        if not isinstance(entry, mixing.MixedEntry):
            return super().read_waveform(entry)
        x, rate, digest = super().read_waveform(entry.clip)
        x, _ = pad_or_crop(x, round(few_shot.SECONDS * rate))
        read = [super(BirdSet, self).read_waveform(other) for other in entry.added]
        added = [resample(y, own, rate) for y, own, _ in read]
        mixture = mixing.mix(x, added, entry.turns, entry.snr_db)
        digests = [digest, *(own for *_, own in read)]
        return mixture, rate, mixing.digest_of(entry, digests)

    def _recordings(self) -> list[few_shot.Focal]:
        """Reads the training table."""
        name = f"{self._subset}_metadata_train.parquet"
        where = self.files.where(name)
        self._labels_of_file: dict[str, tuple[int, ...]] = {}
        recordings: list[few_shot.Focal] = []
        for row in self._rows(name, "train", ("ebird_code",)):
            label = self._label(row["ebird_code"], where)
            if label is None:
                raise InputError(
                    f"{where}: {row['ebird_code']!r} is no class of {self._subset}"
                )
            seconds = math.inf if row["length"] is None else float(row["length"])
            events, clusters = row["detected_events"] or (), row["event_cluster"] or ()
            if len(events) != len(clusters):
                raise InputError(
                    f"{where}: {row['file']} has {len(events)} events and "
                    f"{len(clusters)} clusters"
                )
            others = row["ebird_code_multilabel"] or ()
            labels = self._labels([row["ebird_code"], *others])
            self._labels_of_file[row["file"]] = labels
            recordings.append(
                few_shot.Focal(
                    name=row["file"],
                    label=label,
                    seconds=seconds,
                    has_others=bool(row["ebird_code_secondary"]),
                    events=few_shot.usable_events(events, clusters, seconds),
                )
            )
        return recordings

    def _choose(
        self, recordings: Sequence[few_shot.Focal]
    ) -> list[tuple[few_shot.Focal, few_shot.Span]]:
        """Returns one event of every recording, or a few events of every class."""
        if not self._shots:
            return [(r, few_shot.primary(r, self._seed)) for r in recordings]
        return few_shot.choose(
            recordings,
            self._shots,
            seed=self._seed,
            strict=self._strict,
            fill_up=self._fill_up,
        )

    def _clips(
        self, chosen: Iterable[tuple[few_shot.Focal, few_shot.Span]]
    ) -> list[FileEntry]:
        """Returns the clips around chosen events."""
        clips: list[FileEntry] = []
        for recording, event in chosen:
            start = few_shot.window_start(event, recording.seconds)
            clips.append(
                FileEntry(
                    id=f"{pathlib.PurePosixPath(recording.name).stem}-{start:.3f}",
                    file=self._path_of[recording.name],
                    labels=self._labels_of_file[recording.name],
                    start=start,
                    seconds=few_shot.SECONDS,
                    group=recording.name,
                )
            )
        return clips

    def _test(self) -> list[FileEntry]:
        """Reads the test table."""
        name = f"{self._subset}_metadata_test_5s.parquet"
        return [
            FileEntry(
                id=pathlib.PurePosixPath(row["file"]).stem,
                file=self._path_of[row["file"]],
                labels=self._labels(row["ebird_code_multilabel"] or ()),
            )
            for row in self._rows(name, "test", ("ebird_code_multilabel",))
        ]

    def _rows(
        self, table: str, split: str, columns: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Returns the rows whose recordings are there, with their names as `file`."""
        optional = sorted(_OPTIONAL_COLUMNS.difference(columns))
        rows: list[dict[str, Any]] = []
        for row in read_rows(self.files, table, ("filepath", *columns), optional):
            row["file"] = pathlib.PurePosixPath(row["filepath"]).name
            if row["file"] in self._path_of:
                rows.append(row)
            else:
                self.drop(f"listed recordings of {split} are not there")
        return rows

    def _label(self, code: str | int, where: str) -> int | None:
        """Returns the label of a species, which tables give as a code or a label."""
        if isinstance(code, str):
            return self.classes.index(code) if code in self.classes else None
        if not 0 <= code < len(self.classes):
            raise InputError(f"{where}: class {code} of {len(self.classes)}")
        return code

    def _labels(self, codes: Iterable[str | int]) -> tuple[int, ...]:
        """Returns the labels of species; those that are no class are counted."""
        labels = {self._label(code, self._subset) for code in codes}
        if None in labels:
            self.drop("labels are no class of the subset")
        return tuple(sorted(label for label in labels if label is not None))
