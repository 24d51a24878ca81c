"""The original files of a data set: a folder, its parent, or the published zip."""

import abc
import hashlib
import os
import pathlib
import urllib.request
import zipfile
from collections.abc import Iterable

from unmute_jax.errors import InputError
from unmute_jax.progress import progress

_MEGABYTE = 10**6


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
        there = set(self._archive.namelist())
        return [name for name in names if self._root + name not in there]

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


def find_files(place: str | os.PathLike[str], marker: str) -> Files | None:
    """Finds a data set by one of its files.

    Args:
        place: The root of the data set, the folder around it, a zip of either, or a
            folder with such a zip.
        marker: A file that only this data set has, relative to its root.

    Raises:
        InputError: There is no such place, it is a damaged zip, or it holds several
            copies.
    """
    place = pathlib.Path(place).expanduser()
    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder")
    if place.is_file():
        return _in_zip(place, marker)
    if (place / marker).is_file():
        return Folder(place)
    copies = sorted(path for path in place.glob(f"*/{marker}") if path.is_file())
    depth = len(pathlib.PurePosixPath(marker).parts)
    found: list[Files] = [Folder(path.parents[depth - 1]) for path in copies]
    if not found:
        zips = (_in_zip(path, marker) for path in sorted(place.glob("*.zip")))
        found = [files for files in zips if files is not None]
    if len(found) > 1:
        raise InputError(
            f"{place}: holds several copies, name one of them: "
            + ", ".join(files.where(marker) for files in found)
        )
    return found[0] if found else None


def _in_zip(path: pathlib.Path, marker: str) -> Files | None:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError):
        raise InputError(
            f"{path}: is not a zip archive, or its download was cut short"
        ) from None
    roots = [n.removesuffix(marker) for n in archive.namelist() if n.endswith(marker)]
    # The folder of an archive ends in a slash; the shortest is the outermost.
    roots = sorted((r for r in roots if not r or r.endswith("/")), key=len)
    return Zip(archive, roots[0]) if roots else None


def download(url: str, target: pathlib.Path, *, megabytes: int) -> None:
    """Fetches a zip; `target` appears only when all of it is there.

    Args:
        url: What to fetch.
        target: Where it goes.
        megabytes: Its usual size, for the progress where the server does not tell.

    Raises:
        OSError: It could not be fetched, or what came is not a whole zip.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with (
            urllib.request.urlopen(url, timeout=30) as page,
            partial.open("wb") as file,
        ):
            length = page.headers.get("Content-Length")
            total = int(length) // _MEGABYTE if length else megabytes
            with progress(f"fetching {url}", total, unit="MB") as advance:
                while chunk := page.read(_MEGABYTE):
                    file.write(chunk)
                    advance(1)
        if not zipfile.is_zipfile(partial):
            raise OSError("what came is not a whole zip archive")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
