"""Seven subsets of BirdSet: focal recordings train, soundscapes test.

L. Rauch et al., "BirdSet: A Large-Scale Dataset for Audio Classification in Avian
Bioacoustics", ICLR 2025; on Hugging Face, `DBD-research-group/BirdSet`. In a folder per
subset are `HSN_metadata_train.parquet` and `HSN_metadata_test_5s.parquet`, and archives
`HSN_train_shard_0001.tar.gz` and `HSN_test5s_shard_0001.tar.gz` with the Ogg files that
the tables name; in which folder of an archive does not matter.

`hsn` has a clip of five seconds per training recording, around its primary event;
`hsn/64shot` has up to 64 clips per class (see `few_shot`). The five-second windows of
the test are as published, those without a bird with no label.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.audio.resample import pad_or_crop
from unmute_jax.datasets import few_shot, mixup
from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.birdset_subsets import (
    FACTS,
    FEWEST_TO_SPLIT,
    RATE,
    classes_of,
    facts_of,
    few_of,
)
from unmute_jax.datasets.file_builder import Entry, FileBuilder, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_all
from unmute_jax.datasets.info import DatasetInfo, obtain
from unmute_jax.datasets.parquet import read_rows
from unmute_jax.errors import InputError

__all__ = ["FACTS", "BirdSet", "birdset"]


class BirdSet(FileBuilder):
    """A subset, with all of its recordings or a few.

    Args:
        files: The tables and the recordings.
        facts: Of the subset.
        subset: In capitals.
        shots: Clips per class; 0: one per recording.
        seed: Of all draws.
        strict: Whether only recordings of five seconds are good for a few.
        fill_up: Whether others fill classes that have too few of them.
        mixed: How many mixed copies of every training clip are made.
        on_bad: See `load_dataset`.
    """

    def __init__(
        self,
        files: Files,
        facts: DatasetInfo,
        subset: str,
        *,
        shots: int,
        seed: int,
        strict: bool,
        fill_up: bool,
        mixed: int,
        on_bad: OnBad,
    ):
        self.facts = facts
        self._subset = subset
        self._shots, self._seed, self._mixed = shots, seed, mixed
        self._strict, self._fill_up = strict, fill_up
        self.classes = classes_of(subset)
        super().__init__(files, on_bad=on_bad)
        if shots:
            kind = "strict" if strict else "lenient"
            filled = ", filled up" if fill_up else ""
            name = f"{facts.protocol} ({kind}{filled}, seed {seed})"
            self.protocols = (dataclasses.replace(self.protocols[0], name=name),)

    def layout(self) -> Splits:
        """The tables name files, wherever they are."""
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        place = {path.name: str(path) for path in paths if path.suffix == ".ogg"}
        recordings = self._recordings(place)
        train = self._clips(self._chosen(recordings), place)
        splits: Splits = {"train": train, "test": self._test(place)}
        if 0 < self._shots < FEWEST_TO_SPLIT:
            used = {entry.group for entry in splits["train"]}
            spare = [r for r in recordings if r.name not in used]
            more = few_shot.choose(spare, 1, seed=self._seed, strict=self._strict)
            splits["validation"] = self._clips(more, place)
        if self._shots:
            counts = collections.Counter(c for e in splits["train"] for c in e.labels)
            few = sum(counts[c] < self._shots for c in range(len(self.classes)))
            self.remarks.append(f"{few} classes have fewer than {self._shots} clips")
        return splits

    def complete(self, splits: Splits) -> Splits:
        """A validation split by rule, and mixed copies of what is left to train."""
        splits = super().complete(splits)
        for variant in range(1, self._mixed + 1):
            copies = mixup.mixed_copies(splits["train"], variant, self._seed)
            splits[f"mixup{variant}"] = list(copies)
        return splits

    def waveform(self, entry: Entry) -> tuple[Float[np.ndarray, " S"], str]:
        """A clip; a mixed one is made of others, filled up to five seconds."""
        if not isinstance(entry, mixup.Mixed):
            return super().waveform(entry)
        x, digest = super().waveform(entry.clip)
        x, _ = pad_or_crop(x, round(few_shot.SECONDS * RATE))
        added = [super(BirdSet, self).waveform(other) for other in entry.added]
        mixture = mixup.mix(x, [y for y, _ in added], entry.turns, entry.snr_db)
        return mixture, mixup.digest_of(entry, [digest, *(d for _, d in added)])

    def _recordings(self, place: Mapping[str, str]) -> list[few_shot.Focal]:
        """Those of the training table."""
        name = f"{self._subset}_metadata_train.parquet"
        self._labels_of: dict[str, tuple[int, ...]] = {}
        recordings: list[few_shot.Focal] = []
        for row in self._rows(name, place, "train", ("ebird_code",)):
            label = self._label(row["ebird_code"], self.files.where(name))
            if label is None:
                raise InputError(
                    f"{self.files.where(name)}: {row['ebird_code']!r} is no class of "
                    f"{self._subset}"
                )
            seconds = math.inf if row["length"] is None else float(row["length"])
            events, clusters = row["detected_events"] or (), row["event_cluster"] or ()
            if len(events) != len(clusters):
                raise InputError(
                    f"{self.files.where(name)}: {row['file']} has {len(events)} events "
                    f"and {len(clusters)} clusters"
                )
            others = row["ebird_code_multilabel"] or ()
            self._labels_of[row["file"]] = self._labels([row["ebird_code"], *others])
            recordings.append(
                few_shot.Focal(
                    name=row["file"],
                    label=label,
                    seconds=seconds,
                    has_others=bool(row["ebird_code_secondary"]),
                    events=few_shot.heard(events, clusters, seconds),
                )
            )
        return recordings

    def _chosen(
        self, recordings: Sequence[few_shot.Focal]
    ) -> list[tuple[few_shot.Focal, few_shot.Span]]:
        """Every recording once, or a few clips of every class."""
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
        self,
        chosen: Iterable[tuple[few_shot.Focal, few_shot.Span]],
        place: Mapping[str, str],
    ) -> list[Entry]:
        clips: list[Entry] = []
        for recording, event in chosen:
            start = few_shot.window_start(event, recording.seconds)
            clips.append(
                Entry(
                    id=f"{pathlib.PurePosixPath(recording.name).stem}-{start:.3f}",
                    file=place[recording.name],
                    labels=self._labels_of[recording.name],
                    start=start,
                    seconds=few_shot.SECONDS,
                    group=recording.name,
                )
            )
        return clips

    def _test(self, place: Mapping[str, str]) -> list[Entry]:
        name = f"{self._subset}_metadata_test_5s.parquet"
        return [
            Entry(
                id=pathlib.PurePosixPath(row["file"]).stem,
                file=place[row["file"]],
                labels=self._labels(row["ebird_code_multilabel"] or ()),
            )
            for row in self._rows(name, place, "test", ("ebird_code_multilabel",))
        ]

    def _rows(
        self, table: str, place: Mapping[str, str], split: str, columns: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The rows whose recordings are there, with the name of the recording."""
        optional = {"length", "detected_events", "event_cluster"}
        optional |= {"ebird_code_multilabel", "ebird_code_secondary"}
        found: list[dict[str, Any]] = []
        for row in read_rows(
            self.files,
            table,
            ("filepath", *columns),
            sorted(optional.difference(columns)),
        ):
            row["file"] = pathlib.PurePosixPath(row["filepath"]).name
            if row["file"] in place:
                found.append(row)
            else:
                self.drop(f"recordings of {split} that are listed are not there")
        return found

    def _label(self, code: str | int, where: str) -> int | None:
        """Of a species, by its code or already as a number."""
        if isinstance(code, str):
            return self.classes.index(code) if code in self.classes else None
        if not 0 <= code < len(self.classes):
            raise InputError(f"{where}: class {code} of {len(self.classes)}")
        return code

    def _labels(self, codes: Iterable[str | int]) -> tuple[int, ...]:
        """Of the species in a clip; those that are no class are counted."""
        found = {self._label(code, self._subset) for code in codes}
        if None in found:
            self.drop("labels are no class of the subset")
        return tuple(sorted(label for label in found if label is not None))


def birdset(
    subset: str,
    usual: int,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    shots: int = 0,
    seed: int = 1,
    strict: bool = False,
    fill_up: bool = False,
    mixup: int = 0,
) -> FileBuilder:
    """A subset of BirdSet.

    Args:
        subset: In capitals.
        usual: Clips per class, where no option says another number; 0: one per
            recording.
        data_dir: See `load_dataset`.
        on_bad: Likewise.
        shots: Another number of clips per class.
        seed: Which event of a recording, which recordings of a class; Bird-MAE has
            1, 2 and 3.
        strict: Few shots from recordings of at most five seconds.
        fill_up: Few shots from other recordings where these are too few.
        mixup: Mixed copies of every training clip, in splits of their own.
    """
    for name, value in {"shots": shots, "seed": seed, "mixup": mixup}.items():
        if value < 0:
            raise InputError(f"{subset.lower()}: {name} is {value}, not 0 or more")
    shots = shots or usual
    facts = few_of(facts_of(subset), shots) if shots else facts_of(subset)
    return BirdSet(
        obtain(facts, data_dir, lambda place: _find(place, subset)),
        facts,
        subset,
        shots=shots,
        seed=seed,
        strict=strict,
        fill_up=fill_up,
        mixed=mixup,
        on_bad=on_bad,
    )


def _find(place: pathlib.Path, subset: str) -> Files | None:
    inner = place / subset
    table = f"{subset}_metadata_train.parquet"
    files = find_all(
        inner if inner.is_dir() else place,
        (table, "*.ogg", "*/*.ogg"),
        (f"{subset}_*.tar.gz",),
    )
    return files if files and not files.missing([table]) else None
