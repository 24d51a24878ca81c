"""Finds the recordings in a file, and compares the sizes it states with its length.

Decoders believe a size that is too small and lose the rest without a word, and of
several files that were joined they read the first. This module therefore divides a file
into parts, each of which a decoder reads to its end, and refuses a file that is shorter
than it promises, or longer for a reason that nobody can know.
"""

import re
import string
import struct
from dataclasses import dataclass

from unmute_jax.audio.flac import flac_parts
from unmute_jax.audio.ogg import ogg_links
from unmute_jax.audio.section import Part, Section
from unmute_jax.audio.tags import TAGS, size_of_tags
from unmute_jax.errors import InputError
from unmute_jax.io import refuse_lfs_pointer

# A writer that does not know the length in advance stores 2^31, 2^32, 2^63 or 2^64, or
# what is just below.
_PLACEHOLDERS = tuple(1 << bits for bits in (31, 32, 63, 64))
# Some recorders fill up the last block of the disk with zeros.
_PADDING = 4096
_PRINTABLE = frozenset(string.printable[:95].encode())
_W64_RIFF = b"riff\x2e\x91\xcf\x11"
_ASF = bytes.fromhex("3026b2758e66cf11")
_EBML, _EBML_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# The outermost boxes of MP4 and QuickTime files.
_BOXES = {
    *(b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"emsg"),
    *(b"free", b"skip", b"wide", b"uuid", b"udta", b"meta", b"pnot", b"PICT"),
}


@dataclass(frozen=True, kw_only=True)
class _Chunks:
    """How the chunks of a container are written."""

    first: int
    header: str
    data: bytes
    # Whether the stated size includes the header of the chunk.
    whole: bool = False
    alignment: int = 1


_WAV = _Chunks(first=12, header="<4sI", data=b"data", alignment=2)
_WAV_BIG_ENDIAN = _Chunks(first=12, header=">4sI", data=b"data", alignment=2)
_AIFF = _Chunks(first=12, header=">4sI", data=b"SSND", alignment=2)
_CAF = _Chunks(first=8, header=">4sQ", data=b"data")
_W64 = _Chunks(first=40, header="<4s12xQ", data=b"data", whole=True, alignment=8)
_ASF_OBJECTS = _Chunks(first=0, header="<4s12xQ", data=b"", whole=True)


def find_parts(file: Section, name: str) -> list[Part]:
    """Divides a file into parts that can be decoded one after the other.

    Args:
        file: The whole file.
        name: The name of the file in error messages.

    Raises:
        InputError: The file is empty, is a pointer of Git LFS, is shorter than it
            promises, or holds data behind the samples that are not known tags.
    """
    if not len(file):
        raise InputError(f"{name}: is empty (0 bytes)")
    refuse_lfs_pointer(name, file.bytes_at(0, 64))
    file = _without_id3(file)
    head = file.bytes_at(0, 12)
    match head[:4]:
        case b"fLaC":
            return flac_parts(file)
        case b"OggS":
            return ogg_links(file, name)
        case b"RIFF" | b"RIFX" | b"RF64" | b"BW64" if head[8:] == b"WAVE":
            return [_wav(file, head, name)]
        case b"RIFF":
            _check_riff(file, name)
        case b"riff" if file.bytes_at(0, 8) == _W64_RIFF:
            # libsndfile ignores the size of the samples in this format.
            samples = _check_chunks(file, _W64, name)
            return [Part(file=file, for_libsndfile=bool(samples), samples_at=samples)]
        case b"FORM" if head[8:] in (b"AIFF", b"AIFC"):
            _check_chunks(file, _AIFF, name)
            return [Part(file=file, for_libsndfile=True)]
        case b"caff":
            _check_chunks(file, _CAF, name)
            return [Part(file=file, for_libsndfile=True)]
        case b".snd" | b"dns.":
            _check_au(file, head, name)
            return [Part(file=file, for_libsndfile=True)]
        case magic if magic == _ASF[:4]:
            _check_chunks(file, _ASF_OBJECTS, name)
        case magic if magic == _EBML:
            _check_matroska(file, name)
        case _:
            if head[4:8] in _BOXES:
                _check_boxes(file, name)
            else:
                file = _without_tags_behind(file)
    return [Part(file=file)]


def _without_id3(file: Section) -> Section:
    """Leaves out ID3 tags in front of a format that does not provide for them."""
    start = size_of_tags(file)
    known = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS")
    return file.section(start) if file.bytes_at(start, 4) in known else file


def _without_tags_behind(file: Section) -> Section:
    """Leaves out tags behind formats in which they would be taken for damage."""
    end, before = len(file), None
    while end != before and end > 0:
        before = end
        last = file.bytes_at(max(end - 256, 0), min(end, 256))
        if last[-128:].startswith(b"TAG"):
            end -= 128
        elif last[-32:].startswith(b"APETAGEX"):
            size, _, flags = struct.unpack("<III", last[-20:-8])
            end -= size + 32 * bool(flags & 0x80000000)
    return file.section(0, end) if end > 0 else file


def _wav(file: Section, head: bytes, name: str) -> Part:
    chunks = _WAV_BIG_ENDIAN if head[:4] == b"RIFX" else _WAV
    stated = None
    if head[:4] in (b"RF64", b"BW64"):
        ds64 = file.bytes_at(12, 36)
        if ds64[:4] == b"ds64" and len(ds64) == 36:
            stated = int.from_bytes(ds64[16:24], "little")
    samples = _check_chunks(file, chunks, name, stated)
    _check_sample_size(file, chunks.header[0], name)
    # libsndfile prints messages when it opens MP3.
    is_mp3 = re.search(rb"fmt ....\x55\0", file.bytes_at(12, 4096), re.DOTALL)
    return Part(file=file, for_libsndfile=not is_mp3, samples_at=samples)


def _check_sample_size(file: Section, order: str, name: str) -> None:
    """Checks that the format of an uncompressed WAV does not contradict itself."""
    start = file.bytes_at(12, 4096)
    at = start.find(b"fmt ") + 8
    if at < 8 or len(start) < at + 16:
        return
    tag, channels, _, _, align, bits = struct.unpack(
        f"{order}HHIIHH", start[at : at + 16]
    )
    if tag in (1, 3, 6, 7, 0xFFFE) and align != channels * -(-bits // 8):
        raise InputError(
            f"{name}: is damaged: {channels} channels of {bits} bits do not take "
            f"{align} bytes"
        )


def _check_chunks(
    file: Section, chunks: _Chunks, name: str, stated: int | None = None
) -> int | None:
    """Checks that the samples are there, and that only tags follow.

    Args:
        file: The file.
        chunks: How its chunks are written.
        name: The name of the file in error messages.
        stated: The size of the samples if the header is stated elsewhere.

    Returns:
        Where the samples begin, if their size is not known so that they last to the
        end; None if it is known.
    """
    position, header = chunks.first, struct.calcsize(chunks.header)
    while len(head := file.bytes_at(position, header)) == header:
        kind, size = struct.unpack(chunks.header, head)
        body = position + header
        if kind == chunks.data and stated is not None and size == 0xFFFFFFFF:
            size = stated
        size = max(size - header, 0) if chunks.whole else size
        is_too_long = body + size > len(file)
        if is_too_long and _is_placeholder(size):
            return body
        if kind == chunks.data or not chunks.data:
            if is_too_long:
                raise _cut_short(name, size, len(file) - body)
            if chunks.data:
                is_known = _is_all(file, body + size, size, chunks, name)
                return None if is_known else body
        position = body + size
        position += -position % chunks.alignment
    if chunks.data:
        raise InputError(f"{name}: is cut short: it ends in front of its samples")
    return None


def _is_all(file: Section, end: int, size: int, chunks: _Chunks, name: str) -> bool:
    """Whether only tags follow the samples; False if their size is not known."""
    if _are_tags(file, end, chunks):
        return True
    rest = len(file) - end
    # A size that was never written, or that was too large for its 32 bits.
    has_wrapped = "I" in chunks.header and rest % (1 << 32) == 0
    if not size or _is_placeholder(size) or has_wrapped:
        return False
    raise _too_small(name, size, rest)


def _are_tags(file: Section, position: int, chunks: _Chunks) -> bool:
    """Whether nothing but chunks, tags and padding are left from `position` on."""
    header = struct.calcsize(chunks.header)
    while (left := len(file) - position) >= header:
        head = file.bytes_at(position, header)
        kind, size = struct.unpack(chunks.header, head)
        if head.startswith(TAGS):
            return True
        if set(kind) <= _PRINTABLE:
            position += max(size, header) if chunks.whole else header + size
            continue
        # Padding behind an odd chunk, which not every writer adds, or behind the last.
        rest = file.bytes_at(position, _PADDING + 1)
        padding = len(rest) - len(rest.lstrip(b"\0"))
        if not 0 < padding <= _PADDING:
            return False
        position += padding
    # A last byte of padding may be missing, or be one too many.
    return -chunks.alignment < left < header


def _is_placeholder(size: int) -> bool:
    return any(high - (1 << 16) <= size <= high for high in _PLACEHOLDERS)


def _cut_short(name: str, promised: int, found: int) -> InputError:
    return InputError(
        f"{name}: is cut short: {promised} bytes are promised, {max(found, 0)} are "
        "there"
    )


def _too_small(name: str, size: int, rest: int) -> InputError:
    return InputError(
        f"{name}: states too small a size: {rest} bytes follow the {size} bytes of its "
        "samples"
    )


def _check_au(file: Section, head: bytes, name: str) -> None:
    order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 12:
        raise InputError(f"{name}: is cut short: it ends in front of its samples")
    start, size = struct.unpack(f"{order}II", head[4:])
    if _is_placeholder(size):
        return
    if start + size > len(file):
        raise _cut_short(name, size, len(file) - start)
    if not _are_tags(file, start + size, _AIFF):
        raise _too_small(name, size, len(file) - start - size)


def _check_riff(file: Section, name: str) -> None:
    """Checks the size of an AVI file."""
    size = int.from_bytes(file.bytes_at(4, 4), "little")
    if size and 8 + size > len(file) and not _is_placeholder(size):
        raise _cut_short(name, size, len(file) - 8)


def _check_boxes(file: Section, name: str) -> None:
    """Checks the sizes of the outermost boxes of an MP4 file."""
    position = 0
    while len(head := file.bytes_at(position, 16)) >= 8:
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        if size < 8 or kind not in _BOXES:
            # The last box may last to the end, and tags or padding may follow it.
            return
        position += size
    if position > len(file):
        raise _cut_short(name, position, len(file))


def _check_matroska(file: Section, name: str) -> None:
    """Checks the size of the segment of a Matroska or WebM file."""
    size, position = _ebml_number(file, len(_EBML))
    position += size or 0
    if file.bytes_at(position, 4) == _EBML_SEGMENT:
        size, position = _ebml_number(file, position + 4)
        if size is not None and position + size > len(file):
            raise _cut_short(name, size, len(file) - position)


def _ebml_number(file: Section, position: int) -> tuple[int | None, int]:
    """Returns a number of variable length, and the position behind it.

    The number is None if all its bits are set, which means that it is not known.
    """
    first = file.bytes_at(position, 1) or b"\xff"
    count = 9 - first[0].bit_length()
    largest = (1 << 7 * count) - 1
    number = int.from_bytes(file.bytes_at(position, count), "big") & largest
    return None if number == largest else number, position + count
