"""A part of a file that decoders read as if it were the whole file."""

import io
from dataclasses import dataclass
from typing import Any


class Section:
    """The bytes from one position of a file to another, as a file of their own.

    It takes any position, because a damaged header may point in front of the beginning:
    an exception inside a callback from C would be printed instead of raised.
    """

    def __init__(self, file: io.BufferedReader | io.BytesIO, start: int, end: int):
        """Gives access to the bytes from `start` to `end` of `file`."""
        self._file, self._start, self._end = file, start, max(start, end)
        self._position = 0

    def __len__(self) -> int:
        return self._end - self._start

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position, but never in front of the beginning."""
        origin = (0, self._position, len(self))[whence]
        self._position = min(max(origin + offset, 0), 1 << 62)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes, or all that are left."""
        left = max(len(self) - self._position, 0)
        if left:
            self._file.seek(self._start + self._position)
        data = self._file.read(left if size < 0 else min(size, left)) if left else b""
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Reads into `buffer` as much as there is room for, and returns how much."""
        # libsndfile calls this for every few kilobytes.
        position = self._start + self._position
        left = self._end - position
        if left <= 0:
            return 0
        self._file.seek(position)
        size = self._file.readinto(
            buffer if len(buffer) <= left else memoryview(buffer)[:left]
        )
        self._position += size
        return size

    def bytes_at(self, position: int, size: int) -> bytes:
        """Returns up to `size` bytes from `position` on, and moves nothing."""
        other = self.section(0)
        other.seek(position)
        return other.read(size)

    def section(self, start: int, end: int | None = None) -> "Section":
        """Returns a part of this part, with a position of its own."""
        stop = self._end if end is None else self._start + end
        return Section(self._file, self._start + start, stop)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a file that one decoder reads to its end.

    Attributes:
        file: The bytes.
        for_libsndfile: Whether libsndfile is tried before FFmpeg.
        samples_at: Position of samples that last to the end, whatever size is stated;
            None if the size is right.
    """

    file: Section
    for_libsndfile: bool = False
    samples_at: int | None = None
