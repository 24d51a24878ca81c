"""The original files of a data set, wherever they are: in folders or in archives."""

import abc
import functools
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Iterable, Sequence

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
