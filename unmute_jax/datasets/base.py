"""The base of all builders: turns clips into a prepared data set.

A data set is a subclass of `ClipBuilder` that describes itself and reads its clips.
Caching, unreadable files, the stored format and fingerprints are handled here. The
builders are TFDS builders that write array_record, which works without TensorFlow.
"""

import abc
import collections
import functools
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.decode import decode_audio
from unmute_jax.audio.resample import RESAMPLER
from unmute_jax.console import duration_text, inform, progress, size_text
from unmute_jax.datasets.clips import Clip, quiet_tfds, to_record
from unmute_jax.datasets.counting import metadata_of
from unmute_jax.datasets.dataset import Dataset, Protocol, Task
from unmute_jax.datasets.names import listed
from unmute_jax.datasets.statistics import Statistics
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import cache_dir, describe_fault, naming_disk_faults
from unmute_jax.locks import locked

OnBad = Literal["fail", "skip"]
# To be raised whenever the stored records change.
FORMAT = 3
T = TypeVar("T")

# Clips per file.
SHARD = 128
# Size of the samples of a clip; a record cannot have 2 GiB.
MOST_BYTES = 2_000_000_000
# Clips that are named as they are skipped. A wrong folder would fill the screen.
_NAMED_AT_ONCE = 10


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Does not ask a server for a description of the data set."""


class ClipBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base class of all builders.

    A subclass sets `VERSION` (to be raised whenever the same files would give other
    clips) and the attributes below, and implements the three abstract methods.

    Attributes:
        dataset_name: Name of the data set, as `load_dataset` takes it.
        source: Description of the copy that is read.
        task: "multi-label" or "single-label".
        classes: Names of the classes, in the order of the label indices.
        protocols: Every protocol, the default first.
        licence: Licence of the audio.
        citation: Publication to cite.
        notes: Remarks that a reader of the results needs.
        has_events: Whether clips come with onsets and offsets.
    """

    dataset_name: str
    source: str
    task: Task
    classes: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    licence: str
    citation: str
    notes: tuple[str, ...] = ()
    has_events: bool = False

    # Nothing is downloaded through TFDS, so it need not look for checksums.
    url_infos = None

    def __init__(self, *, on_bad: OnBad, config: str | None = None):
        self.on_bad: OnBad = on_bad
        # Number of clips with each error.
        self.unreadable = collections.Counter[str]()
        self._hashes: dict[str, Any] = {}
        self._first_rate = 0
        self._statistics = Statistics()
        self._metadata = tfds.core.MetadataDict()
        everything = {
            "format": FORMAT,
            "version": str(self.VERSION),
            "resampler": RESAMPLER,
            "on_bad": on_bad,
            **self.identity(),
        }
        key = hashlib.sha256(json.dumps(everything, sort_keys=True).encode())
        root = cache_dir("datasets") / "prepared" / key.hexdigest()[:16]
        with quiet_tfds():
            super().__init__(data_dir=root, config=config)

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the content, files and options, as JSON."""

    @abc.abstractmethod
    def entries(self) -> Mapping[str, Sequence[Any]]:
        """Returns the clips of every split in order, as `read_clip` takes them."""

    @abc.abstractmethod
    def read_clip(self, entry: Any) -> tuple[Clip, str]:
        """Reads one clip, at the sample rate of its file.

        Args:
            entry: One of `entries`.

        Returns:
            The clip, and the SHA-256 of what determines its waveform, which usually is
            its file.

        Raises:
            InputError: The clip cannot be read.
        """

    def groups(self) -> Mapping[str, str]:
        """Returns the recording, site or speaker of each clip id, where known."""
        return {}

    def dataset(self) -> Dataset:
        """Returns the data set, after preparing it if that was not done before."""
        if not self._is_prepared():
            self._prepare()
        path = pathlib.Path(self.data_dir) / "metadata.json"
        return self._with_metadata(json.loads(path.read_text()))

    def counted(self) -> Dataset:
        """Returns the data set, without preparing it if that was not done before.

        In that case its clips cannot be read; see `counting.metadata_of`.
        """
        if self._is_prepared():
            return self.dataset()
        return self._with_metadata(metadata_of(self))

    def id_of(self, entry: Any) -> str:
        """Returns the id that a clip will have, which is unique in the data set."""
        return entry.id

    def longest_known(self) -> float | None:
        """Returns the length of the longest clip in seconds, if no clip need be read.

        By default it is not known.
        """
        return None

    def seconds_of(self, entry: Any) -> float:
        """Returns the length of a clip in seconds; by default, the clip is read."""
        clip, _ = self.read_clip(entry)
        return len(clip.waveform) / clip.sample_rate

    def _with_metadata(self, metadata: Mapping[str, Any]) -> Dataset:
        return Dataset(
            name=self.dataset_name,
            source=self.source,
            task=self.task,
            classes=self.classes,
            sample_rates={int(k): n for k, n in metadata["sample_rates"].items()},
            clip_seconds=metadata["clip_seconds"],
            licence=self.licence,
            citation=self.citation,
            durations={
                split: {float(seconds): n for seconds, n in of_split.items()}
                for split, of_split in metadata["durations"].items()
            },
            notes=(*self.notes, *metadata["notes"]),
            splits=metadata["splits"],
            fingerprints=metadata["fingerprints"],
            folder=pathlib.Path(self.data_dir),
            has_events=self.has_events,
            all_protocols=self.protocols,
            groups=self.groups(),
            # What an earlier version has prepared has no counts.
            clips_per_class=tuple(metadata.get("clips_per_class", ())),
            listed_ids=metadata.get("listed_ids", {}),
        )

    def decode(self, data: bytes, name: str) -> tuple[Float32[np.ndarray, " S"], int]:
        """Decodes a file, and counts it if its channels cancel each other out.

        Args:
            data: The content of the file.
            name: The name of the file in error messages.

        Returns:
            The mono waveform and its sample rate in Hz.
        """
        mix = ChannelMix()
        decoded = decode_audio(data, name, mix=mix)
        self.count_mix(mix, name)
        return decoded

    def count_mix(self, mix: ChannelMix, name: str) -> None:
        """Counts a file, once it was decoded, if its channels cancel each other out.

        Args:
            mix: The average of its channels.
            name: The name of the file.
        """
        if mix.cancels:
            self._statistics.cancelling.add(name)

    def attempt(self, read: Callable[[Any], T], entry: Any) -> T | None:
        """Returns `read(entry)`, or None if it fails and bad clips are skipped."""
        try:
            return read(entry)
        except InputError as error:
            if self.on_bad == "fail":
                raise InputError(
                    f"{error}; on_bad='skip' leaves such clips out "
                    "(--config.audio.on_bad=skip)"
                ) from None
            line = one_line(str(error))
            self.unreadable[line] += 1
            # The windows of a recording share their error, which is printed once.
            if self.unreadable[line] == 1 and len(self.unreadable) <= _NAMED_AT_ONCE:
                inform(f"{self.dataset_name}: skipped {line}", error=True)
            return None

    def _prepare(self) -> None:
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        root = pathlib.Path(self.data_dir_root)
        lock = cache_dir("locks") / f"prepared-{root.name}"
        try:
            with locked(lock, f"preparing {self.dataset_name}"):
                if self._is_prepared():
                    return
                # Processes that were killed have left them.
                for path in root.rglob("incomplete.*"):
                    shutil.rmtree(path, ignore_errors=True)
                with quiet_tfds(), naming_disk_faults(root):
                    self.download_and_prepare(
                        download_config=config, file_format="array_record"
                    )
        except OSError as error:
            raise InputError(
                f"{self.dataset_name} cannot be prepared: {describe_fault(error)}"
            ) from error

    def _is_prepared(self) -> bool:
        # TFDS gives the folder its name last, so a folder that exists is complete.
        return self.data_path.exists()

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                "sample_rate": np.int64,
                # One of the two is empty; see `clips.to_record`.
                "integers": tfds.features.Tensor(
                    shape=(None,), dtype=np.int16, encoding="bytes"
                ),
                "floats": tfds.features.Tensor(
                    shape=(None,), dtype=np.float32, encoding="bytes"
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
            metadata=self._metadata,
            disable_shuffling=True,  # The order is that of `entries`.
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict[str, Any]]]]]]:
        """Returns one iterator per shard.

        The other builders of TFDS collect a whole split. Without TensorFlow they fail
        once a split exceeds 1 GB.
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
            record = self.attempt(functools.partial(self._read_record, split), entry)
            self._advance(1)
            if record is not None:
                yield index, record
                # TFDS has written the record, but keeps it in order to count those of
                # the shard. Emptied, hundreds of long clips take no memory.
                record.clear()

    def _read_record(self, split: str, entry: Any) -> dict[str, Any]:
        """Returns the record of a clip, and counts the clip.

        Raises:
            InputError: The clip cannot be read, or is too long to be stored.
        """
        clip, digest = self.read_clip(entry)
        record = to_record(clip)
        size = record["integers"].nbytes + record["floats"].nbytes
        if size > MOST_BYTES:
            length = duration_text(len(clip.waveform) / clip.sample_rate)
            raise InputError(
                f"{clip.id}: lasts {length} and takes {size_text(size)}; a clip may "
                f"take {size_text(MOST_BYTES)}, so cut it into shorter ones"
            )
        self._register(split, clip, digest, is_float=len(record["floats"]) > 0)
        return record

    def _register(self, split: str, clip: Clip, digest: str, *, is_float: bool) -> None:
        """Adds a clip to the fingerprint and the statistics of its split.

        A file alone does not determine the tokens: its clip may once have been stored
        at another rate or rounded to 16 bits. So these two are in the fingerprint
        where they are not the usual ones, and tokens of clips that were resampled or
        rounded are not mistaken for those of the clip as it is.
        """
        self._first_rate = self._first_rate or clip.sample_rate
        if split not in self._hashes:
            header = [str(self.VERSION), RESAMPLER, self._first_rate, self.classes]
            self._hashes[split] = hashlib.sha256(json.dumps(header).encode())
        line: list[Any] = [clip.id, list(clip.labels), list(clip.events), digest]
        if clip.sample_rate != self._first_rate:
            line.append(clip.sample_rate)
        if is_float:
            line.append("float32")
        self._hashes[split].update(json.dumps(line).encode())
        self._statistics.add(split, clip, digest)

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
        if empty := [split for split in self._entries if split not in self._hashes]:
            raise InputError(
                f"{self.dataset_name}: no clip of {', '.join(empty)} can be read, "
                f"the first because: {next(iter(self.unreadable), 'there is none')}"
            )
        found = self._statistics
        skipped = self.unreadable.total()
        count = f"{skipped:,} unreadable clip{'s' * (skipped > 1)} skipped"
        self._metadata.update(
            sample_rates={
                str(rate): n for rate, n in sorted(found.sample_rates.items())
            },
            clip_seconds=found.clip_seconds,
            clips_per_class=[
                found.clips_per_class[c] for c in range(len(self.classes))
            ],
            durations={
                split: {str(seconds): n for seconds, n in sorted(of_split.items())}
                for split, of_split in found.durations.items()
            },
            notes=[
                *(
                    [f"{count}: {listed([*self.unreadable], 3, '; ')}"]
                    if skipped
                    else []
                ),
                *found.notes(),
            ],
            splits={split: n.total() for split, n in found.durations.items()},
            fingerprints={k: v.hexdigest() for k, v in self._hashes.items()},
        )

    def _log_download_bytes(self) -> None:
        """Prints no banner."""

    def _log_download_done(self) -> None:
        """Prints no banner."""
