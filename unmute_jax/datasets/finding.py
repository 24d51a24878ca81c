"""Finds the files of a data set in a folder, in its parent folder, or in archives."""

from __future__ import annotations

import fnmatch
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from unmute_jax.datasets.archives import is_tar, unpack
from unmute_jax.datasets.files import Files, Folder, Joined, Zip
from unmute_jax.errors import InputError
from unmute_jax.zips import open_zip


def find_files(
    place: str | os.PathLike[str], marker: str, archives: Sequence[str] = ("*.zip",)
) -> Files | None:
    """Finds a data set by one of its files.

    Args:
        place: Root of the data set, the folder around it, an archive of either, or a
            folder with such an archive.
        marker: Path, from the root, of a file that only this data set has; `*` stands
            for any part of a name.
        archives: Names of archives in a folder, with `*` likewise. Tar archives are
            unpacked.

    Raises:
        InputError: The place does not exist, is a damaged archive, or holds several
            copies.
    """
    place = _existing(place)
    if place.is_file():
        return _in_archive(place, marker)
    if _has(place, marker):
        return Folder(place)
    inner = sorted(path for path in place.iterdir() if path.is_dir())
    copies: list[Files] = [Folder(path) for path in inner if _has(path, marker)]
    if not copies:
        packed = (_in_archive(path, marker) for path in _archives(place, archives))
        copies = [files for files in packed if files is not None]
    if len(copies) > 1:
        raise InputError(
            f"{place}: holds several copies, name one of them: "
            + ", ".join(files.where(marker) for files in copies)
        )
    return copies[0] if copies else None


def find_parts(
    place: str | os.PathLike[str], parts: Mapping[str, Sequence[str]]
) -> Files | None:
    """Finds a data set that is published in several parts, each as in `find_files`.

    Args:
        place: Folder with all parts, as folders or as archives; or the folder around
            it, or an archive of it.
        parts: Marker of each part, and names of its archives.

    Raises:
        InputError: Only some of the parts are there; or as in `find_files`.
    """
    place = pathlib.Path(place).expanduser()
    if place.is_file() and is_tar(place):
        place = unpack(place)
    found = {
        marker: find_files(place, marker, archives)
        for marker, archives in parts.items()
    }
    if not all(found.values()) and place.is_dir():
        inner = list(place.iterdir())
        if len(inner) == 1 and inner[0].is_dir():
            if files := find_parts(inner[0], parts):
                return files
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
        place: Folder with some of them, or one of them.
        markers: Files as in `find_files`; every part has at least one of them.
        archives: Names of archives in a folder, as in `find_files`.

    Raises:
        InputError: The place does not exist, or it holds a damaged archive.
    """
    place = _existing(place)
    packed = [place] if place.is_file() else _archives(place, archives)
    folders = [unpack(path) for path in packed if is_tar(path)]
    if place.is_dir():
        folders.insert(0, place)
    folders += [path for f in folders for path in sorted(f.iterdir()) if path.is_dir()]
    parts: list[Files] = [
        Folder(folder) for folder in folders if any(_has(folder, m) for m in markers)
    ]
    for path in packed:
        if not is_tar(path):
            in_zip = (_in_archive(path, marker) for marker in markers)
            parts += [files for files in in_zip if files][:1]
    return Joined(parts) if parts else None


def _existing(place: str | os.PathLike[str]) -> pathlib.Path:
    place = pathlib.Path(place).expanduser()
    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder")
    return place


def _has(folder: pathlib.Path, marker: str) -> bool:
    return any(path.is_file() for path in folder.glob(marker))


def _archives(place: pathlib.Path, patterns: Sequence[str]) -> list[pathlib.Path]:
    """Returns the archives in a folder, without the last piece of a split zip."""
    paths = {path for p in patterns for path in place.glob(p) if path.is_file()}
    return sorted(p for p in paths if not p.with_suffix(".z01").exists())


def _in_archive(path: pathlib.Path, marker: str) -> Files | None:
    if is_tar(path):
        return find_files(unpack(path), marker, ())
    archive = open_zip(path)
    # As in a folder, a star does not match a slash.
    ending = re.compile(fnmatch.translate(marker).replace(".*", "[^/]*"))
    roots: set[str] = set()
    for name in archive.namelist():
        parts = name.split("/")
        depth = marker.count("/") + 1
        if ending.match("/".join(parts[-depth:])):
            roots.add("".join(f"{part}/" for part in parts[:-depth]))
    # The shortest path is the outermost folder.
    return Zip(archive, min(roots, key=len)) if roots else None
