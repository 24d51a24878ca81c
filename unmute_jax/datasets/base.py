"""What all data sets share: how clips become records, and how records are read.

A data set is a subclass of `ClipBuilder` that says what it is and yields its clips; it
needs to know nothing of caches, bad files, formats or fingerprints. The builders are
TFDS builders that write array_record, which works without TensorFlow.
"""

import abc
import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from jaxtyping import Float

from unmute_jax.audio.resample import RESAMPLER
from unmute_jax.console import progress
from unmute_jax.datasets.dataset import Dataset, Protocol, Task
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir

OnBad = Literal["fail", "skip"]
T = TypeVar("T")

# Clips per file.
SHARD = 128


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A clip as a builder hands it over.

    Attributes:
        id: Unique in the data set.
        waveform: `[S]` at the builder's sample rate; stored with 16 bits.
        labels: Class indices.
        events: (class, onset, offset) in seconds.
        digest: SHA-256 of what determines the waveform, usually the file's bytes.
    """

    id: str
    waveform: Float[np.ndarray, " S"]
    labels: Sequence[int]
    events: Sequence[tuple[int, float, float]] = ()
    digest: str


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Asks no server for a description of the data set."""


class ClipBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base of all builders.

    A subclass sets `VERSION` (raised whenever the same files would give other clips)
    and the attributes below, and implements the three abstract methods.

    Attributes:
        dataset_name: In the registry.
        source: Which copy of the data this is.
        task: "multi-label" or "single-label".
        classes: Names by label.
        sample_rate: Of all waveforms, in Hz; known after the first clip at the latest.
        protocols: Every protocol, the default first.
        licence: Of the audio.
        citation: Whom to cite.
        notes: What a reader of results must know.
        has_events: Whether clips come with the onsets and offsets of their labels.
    """

    dataset_name: str
    source: str
    task: Task
    classes: tuple[str, ...]
    sample_rate: int = 0
    protocols: tuple[Protocol, ...]
    licence: str
    citation: str
    notes: tuple[str, ...] = ()
    has_events: bool = False

    # Nothing is downloaded through TFDS, so there are no checksums for it to look for.
    url_infos = None

    def __init__(self, *, on_bad: OnBad, config: str | None = None):
        self.on_bad: OnBad = on_bad
        self.bad: list[str] = []
        self._manifests: dict[str, Any] = {}
        self._counts = collections.Counter[str]()
        self._split_of: dict[str, str] = {}
        self._shared = self._twice = 0
        self._longest = 0
        self._found = tfds.core.MetadataDict()
        everything = {
            "version": str(self.VERSION),
            "resampler": RESAMPLER,
            "on_bad": on_bad,
            **self.identity(),
        }
        key = hashlib.sha256(json.dumps(everything, sort_keys=True).encode())
        root = cache_dir("datasets") / "prepared" / key.hexdigest()[:16]
        with _quiet_tfds():
            super().__init__(data_dir=root, config=config)

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that changes the content: the files and the options (as JSON)."""

    @abc.abstractmethod
    def entries(self) -> Mapping[str, Sequence[Any]]:
        """The clips of every split, in order, as `record` takes them."""

    @abc.abstractmethod
    def record(self, entry: Any) -> Recording:
        """Reads one clip; `InputError` marks it as bad."""

    def groups(self) -> Mapping[str, str]:
        """Clip id -> its recording, site or speaker, where that is known."""
        return {}

    # What all data sets do.

    def dataset(self) -> Dataset:
        """The data set, prepared before if it was not yet."""
        if not self._is_there():
            self._prepare()
        folder = pathlib.Path(self.data_dir)
        found = json.loads((folder / "metadata.json").read_text())
        return Dataset(
            name=self.dataset_name,
            source=self.source,
            task=self.task,
            classes=self.classes,
            sample_rate=found["sample_rate"],
            clip_seconds=found["clip_seconds"],
            licence=self.licence,
            citation=self.citation,
            notes=(*self.notes, *found["notes"]),
            splits=found["splits"],
            fingerprints=found["fingerprints"],
            folder=folder,
            has_events=self.has_events,
            all_protocols=self.protocols,
            groups=self.groups(),
        )

    def attempt(self, read: Callable[[Any], T], entry: Any) -> T | None:
        """`read(entry)`, or None for a bad clip where bad clips are to be skipped."""
        try:
            return read(entry)
        except InputError as error:
            if self.on_bad == "fail":
                raise InputError(
                    f"{error}; on_bad='skip' leaves such clips out"
                ) from None
            self.bad.append(str(error))
            return None

    def _prepare(self) -> None:
        download = tfds.download.DownloadConfig(try_download_gcs=False)
        try:
            with _quiet_tfds():
                self.download_and_prepare(
                    download_config=download, file_format="array_record"
                )
        except OSError as error:
            # Another process may have been faster; what it made is complete and equal.
            if not self._is_there():
                raise InputError(
                    f"{self.dataset_name} cannot be prepared in {self.data_dir_root}: "
                    f"{error.strerror}; UNMUTE_CACHE names another place"
                ) from None

    def _is_there(self) -> bool:
        # The folder gets its name when it is complete, so what is there is whole.
        return self.data_path.exists()

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                "audio": tfds.features.Tensor(
                    shape=(None,), dtype=np.int16, encoding="bytes"
                ),
                "labels": tfds.features.Sequence(
                    tfds.features.ClassLabel(names=self.classes)
                ),
                "events": tfds.features.Tensor(
                    shape=(None, 3), dtype=np.float64, encoding="bytes"
                ),
            }
        )
        return _Info(
            builder=self,
            features=features,
            citation=self.citation,
            license=self.licence,
            metadata=self._found,
            disable_shuffling=True,  # The order is that of `entries`.
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict[str, Any]]]]]]:
        """TFDS writes shard after shard, so memory holds one shard of clips at most.

        Its other builders collect a whole split, and without TensorFlow they fail once
        that passes 1 GB.
        """
        return {
            split: [
                functools.partial(self._shard, split, entries[i : i + SHARD], i)
                for i in range(0, len(entries), SHARD)
            ]
            for split, entries in self._entries.items()
        }

    def _shard(
        self, split: str, entries: Sequence[Any], start: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, entry in enumerate(entries, start):
            clip = self.attempt(self.record, entry)
            self._advance(1)
            if clip is not None:
                self._note(split, clip)
                yield index, _example(clip)

    def _note(self, split: str, clip: Recording) -> None:
        """Enters a written clip in the manifest of its split."""
        if split not in self._manifests:
            frame = [str(self.VERSION), RESAMPLER, self.sample_rate, self.classes]
            self._manifests[split] = hashlib.sha256(json.dumps(frame).encode())
        line = [clip.id, list(clip.labels), list(clip.events), clip.digest]
        self._manifests[split].update(json.dumps(line).encode())
        self._counts[split] += 1
        if clip.digest in self._split_of:
            is_leak = self._split_of[clip.digest] != split
            self._shared += is_leak
            self._twice += not is_leak
        self._split_of.setdefault(clip.digest, split)
        self._longest = max(self._longest, len(clip.waveform))

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        self._entries = self.entries()
        total = sum(len(clips) for clips in self._entries.values())
        label = f"preparing {self.dataset_name}"
        with progress(label, total, unit="clips") as self._advance:
            super()._download_and_prepare(dl_manager, download_config)
        if lost := [split for split in self._entries if split not in self._manifests]:
            raise InputError(
                f"{self.dataset_name}: no clip of {', '.join(lost)} can be read, "
                f"the first because: {(self.bad or ['there is none'])[0]}"
            )
        told = {
            "unreadable clips skipped": len(self.bad),
            "clips have the same audio as a clip of another split": self._shared,
            "clips have the same audio as another clip of their split": self._twice,
        }
        self._found.update(
            sample_rate=self.sample_rate,
            clip_seconds=self._longest / self.sample_rate,
            notes=[f"{count} {what}" for what, count in told.items() if count],
            splits=dict(self._counts),
            fingerprints={k: v.hexdigest() for k, v in self._manifests.items()},
        )

    def _log_download_bytes(self) -> None:
        """Prints no banner."""

    def _log_download_done(self) -> None:
        """Likewise."""


def records(folder: pathlib.Path, split: str) -> Sequence[dict[str, Any]]:
    """The stored records of a split of a prepared data set, with random access."""
    with _quiet_tfds():
        builder: Any = tfds.builder_from_directory(folder)
        return builder.as_data_source(split=split)


def _example(clip: Recording) -> dict[str, Any]:
    """The record of a clip; 16 bits are what nearly all originals have."""
    samples = np.clip(np.rint(clip.waveform * 32768), -32768, 32767)
    return {
        "id": clip.id,
        "audio": samples.astype(np.int16),
        "labels": list(clip.labels),
        "events": np.asarray(clip.events, np.float64).reshape(-1, 3),
    }


@contextlib.contextmanager
def _quiet_tfds() -> Generator[None, None, None]:
    """Keeps TFDS from logging every step."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
