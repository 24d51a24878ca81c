"""Tar archives of samples, as WebDataset writes them, read where they are.

The members of a sample have one name and several suffixes (`dog.flac`, `dog.json`).
Nothing is unpacked to disk: the places of the members are read once, and then a clip is
one read at its place.
"""

from __future__ import annotations

import collections
import dataclasses
import glob
import io
import itertools
import os
import pathlib
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.datasets.archives import reading_tar
from unmute_jax.datasets.files import Files, Folder
from unmute_jax.errors import InputError
from unmute_jax.io import refuse_lfs_pointer

# Members that may hold labels, and the most bytes that such a member can have.
LABEL_SUFFIXES = (".json", ".cls", ".txt")
_MOST_BYTES = 1 << 20
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A clip and its labels.

    Attributes:
        audio: Name of the member with the audio, as `Tars` takes it.
        labels: Contents of the members with labels, by suffix.
    """

    audio: str
    labels: Mapping[str, bytes]


class Tars(Files):
    """The audio of tar archives; each member is a file called `ARCHIVE/MEMBER`.

    Attributes:
        samples: The samples of each archive.
        notes: Remarks about members that are left out.

    Args:
        archives: Paths of the archives.

    Raises:
        InputError: An archive is damaged, compressed, or has a member twice.
    """

    def __init__(self, archives: Sequence[pathlib.Path]):
        parents = {str(archive.parent) for archive in archives}
        self._root = pathlib.Path(os.path.commonpath(parents))
        self._folder = Folder(self._root)
        self._places: dict[str, tuple[str, int, int]] = {}
        self._left_out = collections.Counter[str]()
        self.samples: dict[str, list[Sample]] = {}
        for archive in archives:
            name = archive.relative_to(self._root).as_posix()
            self.samples[name] = self._index(archive, name)
        self.notes = [f"left out: {n} {what}" for what, n in self._left_out.items()]

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            archive, offset, size = self._places[name]
            with (self._root / archive).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (KeyError, OSError):
            raise InputError(f"{self.where(name)}: cannot be read") from None

    def where(self, name: str) -> str:
        """See `Files`."""
        return str(self._root / name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        return [name for name in names if name not in self._places]

    def stamp(self, names: Iterable[str]) -> str:
        """Returns the stamp of the archives."""
        return self._folder.stamp(sorted({self._places[name][0] for name in names}))

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        prefix = f"{below}/" if below else ""
        return sorted(name for name in self._places if name.startswith(prefix))

    def _index(self, path: pathlib.Path, archive: str) -> list[Sample]:
        """Reads the places of the audio and the labels of all samples."""
        audio: dict[str, str] = {}
        labels: dict[str, dict[str, bytes]] = {}
        try:
            refuse_lfs_pointer(path)
            with (
                path.open("rb") as raw,
                reading_tar(path, raw, compressed=False) as members,
            ):
                for member, content in members:
                    self._add(member, content, archive, audio, labels)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        if lonely := len(labels.keys() - audio.keys()):
            self._left_out["members with labels and no audio"] += lonely
        return [
            Sample(audio=name, labels=labels.get(key, {}))
            for key, name in audio.items()
        ]

    def _add(
        self,
        member: tarfile.TarInfo,
        content: io.BufferedReader | None,
        archive: str,
        audio: dict[str, str],
        labels: dict[str, dict[str, bytes]],
    ) -> None:
        key, suffix = os.path.splitext(member.name)
        suffix = suffix.lower()
        name = f"{archive}/{member.name}"
        if member.isdir():
            return
        if suffix not in (*SUFFIXES, *LABEL_SUFFIXES):
            self._left_out[f"members that end in {suffix or 'nothing'}"] += 1
            return
        # Links and devices could lead anywhere; sparse files are not stored whole.
        if content is None:
            self._left_out["members that are links, devices or sparse files"] += 1
            return
        if suffix in SUFFIXES:
            if key in audio:
                raise InputError(
                    f"{self.where(name)}: another member of the archive has the same "
                    "name"
                )
            audio[key] = name
            self._places[name] = (archive, member.offset_data, member.size)
            return
        if suffix in labels.setdefault(key, {}):
            raise InputError(f"{self.where(name)}: is twice in the archive")
        if member.size > _MOST_BYTES:
            raise InputError(
                f"{self.where(name)}: has {member.size:,} bytes, too many for labels"
            )
        labels[key][suffix] = content.read()


def find_tars(pattern: str) -> list[pathlib.Path]:
    """Returns the archives that a pattern names, sorted.

    Args:
        pattern: A folder with archives, or a path with `*`, `?`, `{0..9}` (numbers of
            the same width as the first) and `{a,b}`.

    Raises:
        InputError: The pattern names no archive, or one that is not there.
    """
    if "://" in pattern or pattern.startswith("pipe:"):
        raise InputError(
            f"{pattern}: archives are read from a disk; download them first"
        )
    found: dict[pathlib.Path, None] = {}
    for part in _expanded(os.path.expanduser(pattern)):
        path = pathlib.Path(part)
        paths = [path] if path.exists() else [pathlib.Path(p) for p in glob.glob(part)]
        if not paths:
            raise InputError(f"{part}: there is no such tar archive")
        for path in sorted(paths):
            inner = sorted(path.glob("*.tar*")) if path.is_dir() else [path]
            if not inner:
                raise InputError(f"{path}: has no tar archives")
            found |= dict.fromkeys(p.absolute() for p in inner if p.is_file())
    if packed := [path for path in found if path.suffix != ".tar"]:
        raise InputError(
            f"{packed[0]}: is no .tar file; clips cannot be read one by one from a "
            "compressed archive, so unpack it first (gunzip, zstd -d)"
        )
    return sorted(found)


def _expanded(pattern: str) -> list[str]:
    """Returns the paths that a pattern with braces stands for."""
    match = _BRACES.search(pattern)
    if not match:
        return [pattern]
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
        first, last = numbers.groups()
        step = 1 if int(first) <= int(last) else -1
        if abs(int(last) - int(first)) >= 100_000:
            raise InputError(f"{pattern}: {{{match[1]}}} stands for too many archives")
        count = range(int(first), int(last) + step, step)
        options = [f"{number:0{len(first)}d}" for number in count]
    else:
        options = match[1].split(",")
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return list(
        itertools.chain.from_iterable(_expanded(f"{head}{o}{tail}") for o in options)
    )
