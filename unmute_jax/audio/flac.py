"""Finds the end of FLAC files, and the files of which one was joined.

libsndfile stops after as many samples as the header states, and FFmpeg leaves out a
frame where two files meet.
"""

import contextlib
import re

import av
import av.error

from unmute_jax.audio.section import Part, Section

# The beginning of a FLAC file, whose first block is STREAMINFO.
_BEGIN = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
# How many bytes are searched at a time, and for the last frame at the end.
_SEARCHED, _END = 1 << 20, 1 << 16
# The number of samples in a frame by its code; 0 where the number itself follows.
_SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, *(256 << i for i in range(8)))


def flac_parts(file: Section) -> list[Part]:
    """Divides a FLAC file into the files of which it was joined."""
    starts, position = [0], 0
    # Blocks overlap, so that no beginning is overlooked where they meet.
    while data := file.bytes_at(position, _SEARCHED + 7):
        at = data.rfind(b"fLaC")  # It is faster than `find`.
        while at >= 0:
            if at < _SEARCHED and position + at and _BEGIN.match(data, at):
                starts.append(position + at)
            at = data.rfind(b"fLaC", 0, at)
        position += _SEARCHED
    starts.sort()
    return [
        Part(file=file.section(start, end), for_libsndfile=True)
        for start, end in zip(starts, [*starts[1:], len(file)], strict=True)
    ]


def count_samples(file: Section, stated: int) -> int | None:
    """Counts the samples of a FLAC file by the number of its last frame.

    Args:
        file: The file.
        stated: The number of samples per channel that its header states.

    Returns:
        The number of samples per channel; None if the last frame cannot be found.
    """
    # Inside a frame, bytes may look like the header of another: what seems to
    # contradict the file is looked at once more, frame by frame.
    return stated if _last_end(file) == stated else _end_of_frames(file)


def _last_end(file: Section) -> int | None:
    """The number of the sample behind the last header of a frame (RFC 9639)."""
    largest = int.from_bytes(file.bytes_at(10, 2))
    data = file.bytes_at(max(len(file) - _END, 42), _END)
    at = data.rfind(b"\xff")
    while at >= 0:
        head = data[at : at + 16]
        if len(head) > 5 and head[1] & 0xFE == 0xF8:
            # The number is coded as UTF-8 codes characters, in up to seven bytes.
            ones = 8 - (head[4] ^ 0xFF).bit_length()
            number, end = head[4] & (0x7F >> ones), 4 + max(ones, 1)
            for byte in head[5:end]:
                number = number << 6 | byte & 0x3F
            size, rate = head[2] >> 4, head[2] & 15
            width = {6: 1, 7: 2}.get(size, 0)
            samples = _SIZES[size] or 1 + int.from_bytes(head[end : end + width])
            end += width + {12: 1, 13: 2, 14: 2}.get(rate, 0)
            if head[end : end + 1] == _checksum(head[:end]):
                return samples + (number if head[1] & 1 else number * largest)
        at = data.rfind(b"\xff", 0, at)
    return None


def _checksum(data: bytes) -> bytes:
    """The checksum of the header of a frame, of one byte."""
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ (rest >> 7) * 0x107) & 0xFF
    return bytes([rest])


def _end_of_frames(file: Section) -> int | None:
    """The number of the sample behind the last frame, after all others."""
    end = None
    with (
        contextlib.suppress(av.error.FFmpegError, ValueError, IndexError),
        av.open(file.section(0), "r", format="flac") as container,
    ):
        for packet in container.demux(container.streams.audio[0]):
            if packet.pts is not None and packet.duration:
                end = packet.pts + packet.duration
    return end
