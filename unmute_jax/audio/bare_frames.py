"""Checks the frames of MP3, AAC and other formats that are just a row of frames.

FFmpeg looks for the next frame where one is damaged, and says nothing.
"""

import functools

import av
from av.packet import Packet

from unmute_jax.audio.section import Section
from unmute_jax.audio.tags import size_of_tags, tag_size
from unmute_jax.errors import InputError

# Formats without timestamps, whose length FFmpeg only estimates from the bit rate.
BARE_FORMATS = frozenset({"aac", "ac3", "amr", "dts", "eac3", "loas", "mp3"})
# First bytes of tags and of padding.
_NOT_SOUND = b"TI\0"
# The largest frame of MP3, in bytes: the first one may hold the length, or be cut.
_LARGEST_FRAME = 1730


class BareFrames:
    """Looks at the frames of a file in their order, before they are decoded.

    Attributes:
        promised: The number of frames that a tag of MP3 states, which is known after
            the first frame; None if there is none.
    """

    def __init__(self, file: Section, name: str, *, format: str, codec: str):
        """Looks at no frame yet.

        Args:
            file: The file.
            name: The name of the file in error messages.
            format: The name of its format in FFmpeg.
            codec: The name of its codec in FFmpeg.
        """
        self._file, self._name, self._count = file, name, 0
        self._is_mp3, self._is_padded = format == "mp3", False
        self._codec = codec
        self.promised: int | None = None
        self._checks_sizes = False
        self._last: Packet | None = None

    def sound(self, packet: Packet) -> Packet | None:
        """Checks the next packet.

        Args:
            packet: The bytes that FFmpeg takes for a frame.

        Returns:
            The frame, without tags in front of it, which joined files have; None if the
            packet is padding at the end.

        Raises:
            InputError: The bytes in front of the first frame, or of this one, are no
                sound.
        """
        # Zeros may fill up the end of a file, and are damage elsewhere.
        if self._is_padded:
            raise InputError(f"{self._name}: is damaged: zeros between its frames")
        if not self._count:
            self._begin(packet.pos or 0)
        if memoryview(packet)[0] in _NOT_SOUND:
            data = bytes(packet)
            while size := tag_size(data[:10]):
                data = data[size:]
            packet = Packet(data)
            self._is_padded = not data.strip(b"\0")
            if self._is_padded:
                return None
        self._count += 1
        self._last = packet
        if self._checks_sizes:
            self._check_size(packet)
        return packet

    @functools.cached_property
    def _parser(self) -> av.CodecContext:
        return av.CodecContext.create(self._codec, "r")

    def finish(self) -> None:
        """Checks that no frame is missing.

        Raises:
            InputError: Frames that a tag promises are missing, or the last is cut.
        """
        if self.promised is not None and self._count < self.promised:
            raise InputError(
                f"{self._name}: is cut short: {self.promised} frames are promised, "
                f"{self._count} are there"
            )
        if self._is_mp3 and self.promised is not None and self._last is not None:
            self._check_size(self._last)

    def _begin(self, position: int) -> None:
        """Checks that the first frame is near, and reads the tag in front of it."""
        skipped = position - size_of_tags(self._file)
        if skipped > _LARGEST_FRAME:
            raise InputError(
                f"{self._name}: is damaged: the first {skipped} bytes are no sound"
            )
        if self._is_mp3:
            start = max(position - _LARGEST_FRAME, 0)
            head = self._file.bytes_at(start, position - start)
            self.promised = _promised_frames(head)
            self._checks_sizes = self.promised is None

    def _check_size(self, packet: Packet) -> None:
        """Checks that a packet is one whole frame and nothing else."""
        found = self._parser.parse(bytes(packet))
        if [one.size for one in found] != [packet.size]:
            raise InputError(
                f"{self._name}: is cut short, or damaged, in frame {self._count}"
            )


def begins_with_mpeg(file: Section) -> bool:
    """Whether a file begins with the header of a frame of MP3 or MP2, behind tags."""
    head = file.bytes_at(size_of_tags(file), 2)
    return head[:1] == b"\xff" and head[1:] >= b"\xe0" and head[1] & 6 in (2, 4)


def _promised_frames(head: bytes) -> int | None:
    """The number of frames that an MP3 states in the frame in front of the first."""
    if (at := head.rfind(b"VBRI")) >= 0:
        return int.from_bytes(head[at + 14 : at + 18])
    at = max(head.rfind(b"Xing"), head.rfind(b"Info"))
    if at < 0 or not head[at + 7 : at + 8] or not head[at + 7] & 1:
        return None
    return int.from_bytes(head[at + 8 : at + 12])
