"""Read access to the files of a data set, which lie in folders or in archives."""

import abc
import functools
import hashlib
import os
import pathlib
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence

from unmute_jax.audio.listing import is_hidden
from unmute_jax.errors import InputError
from unmute_jax.zips import read_member


class Files(abc.ABC):
    """Read access to the files below the root of a data set."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
            InputError: The file cannot be read.
        """

    @abc.abstractmethod
    def where(self, name: str) -> str:
        """Returns the place of a file, for messages."""

    @abc.abstractmethod
    def missing(self, names: Iterable[str]) -> list[str]:
        """Returns those of the files that do not exist."""

    @abc.abstractmethod
    def stamp(self, names: Iterable[str]) -> str:
        """Returns a hash that changes when one of the files does; reads none."""

    @abc.abstractmethod
    def names(self, below: str = "") -> list[str]:
        """Returns all files below a folder, sorted, with paths from the root.

        Hidden files and folders, and those that systems add, are left out. Returns
        nothing if there is no such folder.
        """

    def check_complete(self, names: Sequence[str], owner: str) -> None:
        """Raises `InputError` if a file is missing.

        Args:
            names: Names of the files.
            owner: The file that lists them, for the message.
        """
        if missing := self.missing(names):
            raise InputError(
                f"{owner}: {len(missing)} of its {len(names)} files are missing, the "
                f"first is {self.where(missing[0])}; on_bad='skip' leaves them out "
                "(--config.audio.on_bad=skip)"
            )


class Folder(Files):
    """Files below a folder.

    A name that is not there is also found if the file system writes its letters in
    another Unicode form (macOS writes an umlaut as two characters).
    """

    def __init__(self, root: pathlib.Path):
        self._root = root
        self._listings: dict[pathlib.Path, dict[str, str]] = {}

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            return self.path(name).read_bytes()
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
        return [name for name in names if not self.path(name).is_file()]

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a hash of sizes and times of modification.

        A file that is replaced by one of the same size and time is not noticed, because
        reading all files at every start would take long.
        """
        stamp = hashlib.sha256()
        for name in names:
            try:
                stat = self.path(name).stat()
                stamp.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            except OSError:
                stamp.update(f"{name}\0missing\n".encode())
        return stamp.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        names: list[str] = []
        for folder, inner, files in os.walk(self._root / below):
            inner[:] = [name for name in inner if not is_hidden(name)]
            path = pathlib.Path(folder).relative_to(self._root)
            names += [(path / file).as_posix() for file in files if not is_hidden(file)]
        return sorted(names)

    def path(self, name: str) -> pathlib.Path:
        """Returns the path of a file, which may not exist."""
        path = self._root / name
        if name.isascii() or path.exists():
            return path
        path = self._root
        for part in pathlib.PurePath(name).parts:
            if not (inner := path / part).exists():
                normal = unicodedata.normalize("NFC", part)
                inner = path / self._listing(path).get(normal, part)
            path = inner
        return path

    def _listing(self, folder: pathlib.Path) -> dict[str, str]:
        """Returns the names in a folder by their NFC form."""
        if folder not in self._listings:
            try:
                names = os.listdir(folder)
            except OSError:
                names = []
            self._listings[folder] = {
                unicodedata.normalize("NFC", name): name for name in sorted(names)
            }
        return self._listings[folder]


class Zip(Files):
    """Files below a folder inside a zip archive.

    Args:
        archive: The archive, as returned by `zips.open_zip`.
        root: Path of the folder in the archive, empty or with a slash at its end.
    """

    def __init__(self, archive: zipfile.ZipFile, root: str):
        self._archive = archive
        self._root = root

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            return read_member(self._archive, self._root + name)
        except InputError as error:
            raise InputError(f"{self.where(name)}: {error}") from None

    def where(self, name: str) -> str:
        """See `Files`."""
        return f"{self._archive.filename}/{self._root}{name}"

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        return [name for name in names if self._root + name not in self._members]

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a hash of sizes and checksums."""
        stamp = hashlib.sha256()
        for name in names:
            try:
                info = self._archive.getinfo(self._root + name)
                stamp.update(f"{name}\0{info.file_size}\0{info.CRC}\n".encode())
            except KeyError:
                stamp.update(f"{name}\0missing\n".encode())
        return stamp.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        start = f"{self._root}{below}/" if below else self._root
        return sorted(
            name.removeprefix(self._root)
            for name in self._members
            if name.startswith(start)
            and not name.endswith("/")
            and not any(map(is_hidden, name.removeprefix(start).split("/")))
        )

    @functools.cached_property
    def _members(self) -> frozenset[str]:
        return frozenset(self._archive.namelist())


class Joined(Files):
    """Files in several places, such as the archives of one data set.

    Args:
        parts: The places. If several have a file of the same name, the first is read.
    """

    def __init__(self, parts: Sequence[Files]):
        self._parts = tuple(parts)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        return self._part_of(name).read(name)

    def where(self, name: str) -> str:
        """See `Files`."""
        return self._part_of(name).where(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        left = list(names)
        for part in self._parts:
            left = part.missing(left)
        return left

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a hash of the stamps of all parts."""
        names = list(names)
        stamps = [part.stamp(names) for part in self._parts]
        return hashlib.sha256("".join(stamps).encode()).hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        return sorted({name for part in self._parts for name in part.names(below)})

    def _part_of(self, name: str) -> Files:
        parts = (part for part in self._parts if not part.missing([name]))
        return next(parts, self._parts[0])


class Mounted(Files):
    """Files under the name of a folder, so that the names of joined parts differ.

    Args:
        folder: Name of the folder.
        files: The files.
    """

    def __init__(self, folder: str, files: Files):
        self._prefix = f"{folder}/"
        self._files = files

    def read(self, name: str) -> bytes:
        """See `Files`."""
        return self._files.read(name.removeprefix(self._prefix))

    def where(self, name: str) -> str:
        """See `Files`."""
        return self._files.where(name.removeprefix(self._prefix))

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        names = list(names)
        missing = {
            self._prefix + name for name in self._files.missing(self._own(names))
        }
        return [n for n in names if n in missing or not n.startswith(self._prefix)]

    def stamp(self, names: Iterable[str]) -> str:
        """See `Files`."""
        return self._files.stamp(self._own(names))

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        if below and not f"{below}/".startswith(self._prefix):
            return []
        inner = self._files.names(f"{below}/".removeprefix(self._prefix).rstrip("/"))
        return [self._prefix + name for name in inner]

    def _own(self, names: Iterable[str]) -> list[str]:
        prefix = self._prefix
        return [n.removeprefix(prefix) for n in names if n.startswith(prefix)]
