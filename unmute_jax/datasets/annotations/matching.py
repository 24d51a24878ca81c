"""Finds recordings by the names that annotations give them."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import unicodedata
from collections.abc import Mapping, Sequence

from unmute_jax.errors import InputError

_Parts = tuple[str, ...]


class Matcher:
    """Finds recordings by the names that annotations give them.

    Many recorders give their files the same names, so folders count. An annotation that
    lies in the folder of some recordings, or in a folder of the same name elsewhere,
    belongs to one of these recordings and to no other.

    Args:
        recordings: The absolute paths of the recordings, by their names.
    """

    def __init__(self, recordings: Mapping[str, pathlib.Path]):
        self._name_of = {_parts(path): name for name, path in recordings.items()}
        self._by_file = collections.defaultdict[str, list[_Parts]](list)
        self._by_stem = collections.defaultdict[str, list[_Parts]](list)
        for path in self._name_of:
            self._by_file[path[-1]].append(path)
            self._by_stem[path[-1].rpartition(".")[0]].append(path)
        self._folders = {path[:-1] for path in self._name_of}
        self._most_of_any: dict[_Parts, int] = {}

    def named(self, file: str, folder: pathlib.Path, where: str) -> str | None:
        """Finds the recording that an annotation names.

        Args:
            file: The name of a file, absolute or relative. The path of the recording
                ends with a relative one.
            folder: The folder of the annotation.
            where: The place of the annotation, for messages.

        Returns:
            The name of the recording; None if there is no such recording.

        Raises:
            InputError: Several recordings could be meant.
        """
        # Annotations from Windows have backslashes, and may begin with a drive.
        file = file.replace("\\", "/")
        is_absolute = re.match(r"/|[A-Za-z]:/", file)
        given = 0 if is_absolute else len(pathlib.PurePosixPath(file).parts) - 1
        *inner, name = _parts(folder / file)
        return self._nearest(self._by_file.get(name, ()), tuple(inner), given, where)

    def annotated_by(self, path: pathlib.Path) -> str | None:
        """Finds the recording that an annotation file is named after.

        The annotations of `x.wav` are in `x.txt`, `x.wav.txt`, or a file whose name
        adds more after a dot, such as `x.Table.1.selections.txt`.

        Args:
            path: The annotation file.

        Returns:
            The name of the recording; None if there is no such recording.

        Raises:
            InputError: Several recordings could be meant.
        """
        *inner, stem = _parts(path)
        while "." in stem:
            stem = stem.rpartition(".")[0]
            for by_name in (self._by_file, self._by_stem):
                paths = by_name.get(stem, ())
                if found := self._nearest(paths, tuple(inner), 0, str(path)):
                    return found
        return None

    def _nearest(
        self, paths: Sequence[_Parts], folder: _Parts, given: int, where: str
    ) -> str | None:
        """The recording whose folders agree most with those of an annotation.

        Args:
            paths: The recordings in question.
            folder: The folders of the annotation.
            given: The number of folders that the annotation names; if there are none,
                as many have to agree as agree for any recording.
            where: The place of the annotation, for messages.
        """
        if not paths:
            return None
        least = given or self._most_of_any.get(folder)
        if least is None:
            least = max(_agreement(other, folder) for other in self._folders)
            self._most_of_any[folder] = least
        agreeing = [_agreement(path[:-1], folder) for path in paths]
        if (most := max(agreeing)) < least:
            return None
        best = [path for path, n in zip(paths, agreeing, strict=True) if n == most]
        if len(best) > 1:
            one, other = (self._name_of[path] for path in best[:2])
            raise InputError(f"{where}: may belong to {one} or to {other}")
        return self._name_of[best[0]]


def _parts(path: pathlib.Path) -> _Parts:
    """The parts of a path. Systems write accents in two ways; here they are one."""
    return pathlib.PurePath(unicodedata.normalize("NFC", os.path.abspath(path))).parts


def _agreement(one: _Parts, other: _Parts) -> int:
    """The number of folders that are equal, counted from the last one."""
    n = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        n += 1
    return n
