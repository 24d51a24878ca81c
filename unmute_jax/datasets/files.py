"""The original files of a data set: a folder, its parent, or published archives."""

import abc
import fnmatch
import functools
import hashlib
import os
import pathlib
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence

from unmute_jax.datasets.archives import is_tar, unpack
from unmute_jax.errors import InputError


class Files(abc.ABC):
    """Read access to the files below the root of a data set."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file; `InputError` if it cannot be read."""

    @abc.abstractmethod
    def where(self, name: str) -> str:
        """What messages call a file."""

    @abc.abstractmethod
    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the files that are not there."""

    @abc.abstractmethod
    def stamp(self, names: Iterable[str]) -> str:
        """A hash that changes when one of these files changes; reads none of them."""

    @abc.abstractmethod
    def names(self, below: str = "") -> list[str]:
        """All files below a folder (with its path), in order; nothing if it is not."""


class Folder(Files):
    """Files below a folder."""

    def __init__(self, root: pathlib.Path):
        self._root = root

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.where(name)}: there is no such file") from None
        except OSError as error:
            raise InputError(
                f"{self.where(name)}: cannot be opened: {error.strerror}"
            ) from None

    def where(self, name: str) -> str:
        """See `Files`."""
        return str(self._root / name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        return [name for name in names if not (self._root / name).is_file()]

    def stamp(self, names: Iterable[str]) -> str:
        """Over sizes and times of change."""
        seen = hashlib.sha256()
        for name in names:
            try:
                stat = (self._root / name).stat()
                seen.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            except OSError:
                seen.update(f"{name}\0missing\n".encode())
        return seen.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`; hidden ones and those in hidden folders are left out."""
        found: list[str] = []
        for folder, inner, files in os.walk(self._root / below):
            inner[:] = [name for name in inner if not name.startswith(".")]
            path = pathlib.Path(folder).relative_to(self._root)
            found += [
                (path / file).as_posix() for file in files if not file.startswith(".")
            ]
        return sorted(found)


class Zip(Files):
    """Files below a folder inside a zip archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        self._archive = archive
        self._root = root

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            return self._archive.read(self._root + name)
        except KeyError:
            raise InputError(f"{self.where(name)}: is not in the archive") from None
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise InputError(
                f"{self.where(name)}: cannot be unpacked: {error}"
            ) from None

    def where(self, name: str) -> str:
        """See `Files`."""
        return f"{self._archive.filename}/{self._root}{name}"

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        return [name for name in names if self._root + name not in self._there]

    def stamp(self, names: Iterable[str]) -> str:
        """Over sizes and checksums."""
        seen = hashlib.sha256()
        for name in names:
            try:
                info = self._archive.getinfo(self._root + name)
                seen.update(f"{name}\0{info.file_size}\0{info.CRC}\n".encode())
            except KeyError:
                seen.update(f"{name}\0missing\n".encode())
        return seen.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        start = f"{self._root}{below}/" if below else self._root
        return sorted(
            name.removeprefix(self._root)
            for name in self._there
            if name.startswith(start) and not name.endswith("/")
        )

    @functools.cached_property
    def _there(self) -> frozenset[str]:
        return frozenset(self._archive.namelist())


class Joined(Files):
    """Files in several places, such as the archives of one data set.

    Args:
        parts: Where they are; of a name that several have, the first one counts.
    """

    def __init__(self, parts: Sequence[Files]):
        self._parts = tuple(parts)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        return self._of(name).read(name)

    def where(self, name: str) -> str:
        """See `Files`."""
        return self._of(name).where(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        left = list(names)
        for part in self._parts:
            left = part.missing(left)
        return left

    def stamp(self, names: Iterable[str]) -> str:
        """Over the stamps of the parts; one that lacks a file says just that."""
        names = list(names)
        stamps = [part.stamp(names) for part in self._parts]
        return hashlib.sha256("".join(stamps).encode()).hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        return sorted({name for part in self._parts for name in part.names(below)})

    def _of(self, name: str) -> Files:
        has = (part for part in self._parts if not part.missing([name]))
        return next(has, self._parts[0])


class Mounted(Files):
    """Files under a folder that they are not in, so that joined names do not clash.

    Args:
        folder: Its name.
        files: What it holds.
    """

    def __init__(self, folder: str, files: Files):
        self._start = f"{folder}/"
        self._files = files

    def read(self, name: str) -> bytes:
        """See `Files`."""
        return self._files.read(name.removeprefix(self._start))

    def where(self, name: str) -> str:
        """See `Files`."""
        return self._files.where(name.removeprefix(self._start))

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        names = list(names)
        mine = [n.removeprefix(self._start) for n in names if n.startswith(self._start)]
        missing = {self._start + name for name in self._files.missing(mine)}
        return [n for n in names if n in missing or not n.startswith(self._start)]

    def stamp(self, names: Iterable[str]) -> str:
        """See `Files`."""
        return self._files.stamp(
            n.removeprefix(self._start) for n in names if n.startswith(self._start)
        )

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        if below and not f"{below}/".startswith(self._start):
            return []
        inner = self._files.names(f"{below}/".removeprefix(self._start).rstrip("/"))
        return [self._start + name for name in inner]


def find_files(
    place: str | os.PathLike[str], marker: str, archives: Sequence[str] = ("*.zip",)
) -> Files | None:
    """Finds a data set by one of its files.

    Args:
        place: The root of the data set, the folder around it, an archive of either, or
            a folder with such an archive.
        marker: A file that only this data set has, relative to its root; `*` stands
            for any part of a name.
        archives: What the archives in a folder may be called. A tar is unpacked.

    Raises:
        InputError: There is no such place, it is a damaged archive, or it holds several
            copies.
    """
    place = pathlib.Path(place).expanduser()
    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder")
    if place.is_file():
        return _in_archive(place, marker)
    if _has(place, marker):
        return Folder(place)
    inner = sorted(path for path in place.iterdir() if path.is_dir())
    found: list[Files] = [Folder(path) for path in inner if _has(path, marker)]
    if not found:
        packed = (_in_archive(path, marker) for path in _archives(place, archives))
        found = [files for files in packed if files is not None]
    if len(found) > 1:
        raise InputError(
            f"{place}: holds several copies, name one of them: "
            + ", ".join(files.where(marker) for files in found)
        )
    return found[0] if found else None


def find_parts(
    place: str | os.PathLike[str], parts: Mapping[str, Sequence[str]]
) -> Files | None:
    """Finds a data set that is published in several parts, each as in `find_files`.

    Args:
        place: A folder with all of them, as folders or as archives.
        parts: The marker of each part, and what its archives may be called.

    Raises:
        InputError: Some parts are there and others are not; or as in `find_files`.
    """
    found = {
        marker: find_files(place, marker, packed) for marker, packed in parts.items()
    }
    missing = [marker for marker, files in found.items() if files is None]
    if len(missing) == len(found):
        return None
    if missing:
        there = ", ".join(marker for marker in found if marker not in missing)
        raise InputError(f"{place}: has {there}, but no {', '.join(missing)}")
    return Joined([files for files in found.values() if files is not None])


def find_all(
    place: str | os.PathLike[str], markers: Sequence[str], archives: Sequence[str]
) -> Files | None:
    """Finds a data set that is spread over any number of folders and archives.

    Args:
        place: A folder with some of them, or one of them.
        markers: Each has one of these files or more; `*` as in `find_files`.
        archives: What the archives in a folder may be called.

    Raises:
        InputError: There is no such place, or it holds a damaged archive.
    """
    place = pathlib.Path(place).expanduser()
    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder")
    packed = [place] if place.is_file() else _archives(place, archives)
    folders = [unpack(path) for path in packed if is_tar(path)]
    if place.is_dir():
        folders.insert(0, place)
    folders += [path for f in folders for path in sorted(f.iterdir()) if path.is_dir()]
    found: list[Files] = [
        Folder(folder) for folder in folders if any(_has(folder, m) for m in markers)
    ]
    for path in packed:
        if not is_tar(path):
            held = (_in_archive(path, marker) for marker in markers)
            found += [files for files in held if files][:1]
    return Joined(found) if found else None


def _has(folder: pathlib.Path, marker: str) -> bool:
    return any(path.is_file() for path in folder.glob(marker))


def _archives(place: pathlib.Path, patterns: Sequence[str]) -> list[pathlib.Path]:
    """Those in a folder; the last piece of a split zip alone is none."""
    found = {path for p in patterns for path in place.glob(p) if path.is_file()}
    return sorted(p for p in found if not p.with_suffix(".z01").exists())


def _in_archive(path: pathlib.Path, marker: str) -> Files | None:
    if is_tar(path):
        return find_files(unpack(path), marker, ())
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError):
        raise InputError(
            f"{path}: is not a zip archive, or its download was cut short"
        ) from None
    # As in a folder, a star does not reach over a slash.
    ending = re.compile(fnmatch.translate(marker).replace(".*", "[^/]*"))
    roots: set[str] = set()
    for name in archive.namelist():
        parts = name.split("/")
        depth = marker.count("/") + 1
        if ending.match("/".join(parts[-depth:])):
            roots.add("".join(f"{part}/" for part in parts[:-depth]))
    # The shortest is the outermost.
    return Zip(archive, min(roots, key=len)) if roots else None
