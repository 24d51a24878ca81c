"""URBAN-SED: synthetic soundscapes of ten urban sounds, with onsets and offsets.

J. Salamon et al., "Scaper: A Library for Soundscape Synthesis and Augmentation", WASPAA
2017; Zenodo record 1324404. Each `audio/SPLIT/NAME.wav` has annotations in
`annotations/SPLIT/NAME.txt`: onset, offset and label, one event per line and no header.
The fields are documented as separated by tabs, but some files have spaces.
"""

from __future__ import annotations

import pathlib

from unmute_jax.datasets.clips import Event
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download
from unmute_jax.datasets.tables import read_text
from unmute_jax.errors import InputError

_TAR = "URBAN-SED_v2.0.0.tar.gz"

INFOS = (
    DatasetInfo(
        name="urban",
        title="URBAN-SED v2.0.0",
        task="multi-label",
        classes=10,
        splits={"train": 6000, "validation": 2000, "test": 2000},
        layout="verified",
        checked="the record and the authors' code",
        files=f"{_TAR}, or the folder it was unpacked into, with audio/ and "
        "annotations/",
        licence="CC BY 4.0",
        citation="J. Salamon et al., Scaper: A Library for Soundscape Synthesis and "
        "Augmentation, WASPAA 2017",
        home="https://zenodo.org/records/1324404",
        downloads=(
            Download(
                url=f"https://zenodo.org/records/1324404/files/{_TAR}",
                name=_TAR,
                md5="a2d24a2148ece7c021fcc079ee87c2dc",
            ),
        ),
        max_seconds=10.0,
        has_events=True,
    ),
)

_SPLITS = {"train": "train", "validation": "validate", "test": "test"}


class UrbanSed(FileBuilder):
    """Builder of the soundscapes."""

    dataset_info = INFOS[0]
    classes = tuple(
        "air_conditioner car_horn children_playing dog_bark drilling engine_idling "
        "gun_shot jackhammer siren street_music".split()
    )

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        archives = ("*.zip", "URBAN-SED*.tar*")
        return find_files(place, "annotations/train/*.txt", archives)

    def layout(self) -> Splits:
        """Reads the annotations; each is one soundscape."""
        return {split: self._read_split(name) for split, name in _SPLITS.items()}

    def _read_split(self, folder: str) -> list[FileEntry]:
        texts = [
            pathlib.PurePosixPath(name)
            for name in self.files.names(f"annotations/{folder}")
            if name.endswith(".txt")
        ]
        annotated = {path.stem for path in texts}
        sounds = (
            pathlib.PurePosixPath(name)
            for name in self.files.names(f"audio/{folder}")
            if name.endswith(".wav")
        )
        if count := sum(path.stem not in annotated for path in sounds):
            self.drop("soundscapes have no annotation", count)
        entries: list[FileEntry] = []
        for path in texts:
            events = self._read_events(str(path))
            entries.append(
                FileEntry(
                    id=path.stem,
                    file=f"audio/{folder}/{path.stem}.wav",
                    labels=tuple(sorted({label for label, _, _ in events})),
                    events=events,
                )
            )
        return entries

    def _read_events(self, name: str) -> tuple[Event, ...]:
        events: list[Event] = []
        lines = read_text(self.files, name).splitlines()
        for number, line in enumerate(lines, start=1):
            where = f"{self.files.where(name)}, line {number}"
            fields = line.split()
            if not fields:
                continue
            try:
                onset, offset, label = float(fields[0]), float(fields[1]), fields[2]
            except (ValueError, IndexError):
                raise InputError(
                    f"{where}: is {line!r}, not onset, offset and label"
                ) from None
            events.append((self.index_of(label, where), onset, offset))
        return tuple(sorted(events, key=lambda event: event[1:]))
