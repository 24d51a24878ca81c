"""Lists the audio files below a folder, and what else lies there.

Training and prediction list folders by the same rules. Hidden folders, the folders that
systems and file servers add, and files with a leading dot are left out. Linked folders
are followed.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import sys
from collections.abc import Iterable

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.errors import InputError, one_line

# Folders and files that systems add: Synology, QNAP, macOS, Windows, Linux, Python.
_SYSTEM_NAMES = frozenset(
    name.casefold()
    for name in (
        "@eaDir",
        "#recycle",
        "#snapshot",
        "@Recycle",
        "@Recently-Snapshot",
        "__MACOSX",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        "desktop.ini",
        "Thumbs.db",
        "lost+found",
        "__pycache__",
    )
)

# Reasons for which files are left out, beside the suffixes of their names.
HIDDEN_FOLDER, HIDDEN_FILE = "hidden or system folder", "hidden file"
LIKE_A_FILE, LOOP = "folder named like a file", "link to a folder around it"
NO_SUFFIX, NO_FILE = "file without a suffix", "pipe or device"
NO_TARGET = "link to nothing"
_PLURALS = {
    HIDDEN_FOLDER: "hidden or system folders",
    HIDDEN_FILE: "hidden files",
    LIKE_A_FILE: "folders named like files",
    LOOP: "links to folders around them",
    NO_SUFFIX: "files without a suffix",
    NO_FILE: "pipes or devices",
    NO_TARGET: "links to nothing",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file or folder that is not used.

    Attributes:
        name: Path from the listed folder, with forward slashes.
        reason: Suffix of its name, or another reason, for messages.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The audio files below a folder.

    Attributes:
        audio: Paths from the folder, with forward slashes, sorted.
        left_out: Everything else, sorted likewise, except hidden files without an audio
            suffix and what lies in hidden folders.
        folders: Names of the folders directly below, sorted, without those left out.
    """

    audio: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    folders: tuple[str, ...]


def list_audio(root: str | os.PathLike[str]) -> Listing:
    """Lists the audio files below a folder.

    A file counts as audio by its suffix, in any case. A link to a file that is gone is
    listed, so that whoever reads it says so.

    Args:
        root: The folder.

    Raises:
        InputError: A folder cannot be listed, or a name is not valid UTF-8.
    """
    check_name(os.fspath(root))
    audio: list[str] = []
    left_out: list[LeftOut] = []
    folders: list[str] = []
    # Each folder with the folders around it, so that a link back to one is noticed.
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        below, around = waiting.pop()
        place = os.path.join(root, below) if below else os.fspath(root)
        try:
            status = os.stat(place)
            entries = list(os.scandir(place))
        except OSError as error:
            raise InputError(
                f"{_printable(place)}: cannot be listed: {error.strerror}"
            ) from None
        identity = status.st_dev, status.st_ino
        if identity in around:
            left_out.append(LeftOut(name=_printable(below), reason=LOOP))
            continue
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            is_folder = _is_folder(entry)
            reason = _reason(entry, is_folder)
            if reason is None and is_folder:
                waiting.append((name, around | {identity}))
                if not below:
                    folders.append(_printable(name))
            elif reason is None:
                audio.append(check_name(name, place))
            elif reason:
                left_out.append(LeftOut(name=_printable(name), reason=reason))
    return Listing(
        audio=tuple(sorted(audio, key=_order)),
        left_out=tuple(sorted(left_out, key=lambda one: _order(one.name))),
        folders=tuple(sorted(folders)),
    )


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is hidden, or one that a system adds.

    Args:
        name: Its name, without the folders around it.
    """
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def describe(left_out: Iterable[LeftOut], *, names: bool = True) -> str:
    """Returns counts by reason, such as "4 .m4b (frog/f0.m4b, ...), 1 hidden file".

    Args:
        left_out: What is left out.
        names: Whether the first of each reason is named.
    """
    by_reason = collections.defaultdict[str, list[str]](list)
    for one in left_out:
        by_reason[one.reason].append(one.name)
    parts: list[str] = []
    for reason, found in sorted(by_reason.items()):
        many = _PLURALS.get(reason, reason)
        parts.append(f"{len(found):,} {reason if len(found) == 1 else many}")
        if names:
            more = ", ..." if len(found) > 1 else ""
            parts[-1] += f" ({one_line(found[0], 80)}{more})"
    return ", ".join(parts)


def check_name(name: str, place: str = "") -> str:
    """Returns the name of a file.

    Args:
        name: The name.
        place: The folder around it, for the message.

    Raises:
        InputError: The name is not valid UTF-8, so it cannot be written into results.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        where = _printable(os.path.join(place, os.path.basename(name)))
        encoding = sys.getfilesystemencoding()
        raise InputError(
            f"{where}: this name is not valid UTF-8 (\\x.. stands for its other "
            "bytes); rename it, for example with convmv"
            if encoding == "utf-8"
            else f"{where}: Python reads names of files as {encoding} here, and this "
            "one has other characters: set PYTHONUTF8=1"
        ) from None
    return name


def _reason(entry: os.DirEntry[str], is_folder: bool) -> str | None:
    """Returns why an entry is left out, empty if nobody misses it, or None."""
    suffix = os.path.splitext(entry.name)[1].lower()
    is_audio = suffix in SUFFIXES
    if is_hidden(entry.name):
        return HIDDEN_FOLDER if is_folder else HIDDEN_FILE if is_audio else ""
    if is_folder:
        return LIKE_A_FILE if is_audio else None
    exists = os.path.exists(entry.path) if entry.is_symlink() else True
    if not is_audio:
        return (suffix or NO_SUFFIX) if exists else NO_TARGET
    # An audio file that is a link to nothing stays, so that reading it fails by name.
    return NO_FILE if exists and not entry.is_file() else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # Such as a link to itself.
        return False


def _order(name: str) -> list[str]:
    """Returns the parts of a path, which sort as those of `pathlib` do."""
    return name.split("/")


def _printable(path: str) -> str:
    """Returns a path in which bytes that are not UTF-8 are written in hexadecimal."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
