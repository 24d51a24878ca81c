"""Checks the pages of Ogg files, and finds the files of which one was joined.

Decoders leave out damaged pages without a word. Of joined files, libsndfile reads only
the first, and FFmpeg leaves out samples where they meet.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from unmute_jax.audio.section import Part, Section
from unmute_jax.audio.tags import TAGS
from unmute_jax.errors import InputError

# Each byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page of an Ogg file."""

    start: int
    end: int
    is_first: bool
    is_last: bool


def _ogg_pages(file: Section, name: str) -> Iterator[_Page]:
    """Yields the pages of an Ogg file, and compares their checksums (RFC 3533)."""
    position = 0
    while (head := file.bytes_at(position, 282))[:4] == b"OggS":
        count = head[26] if len(head) > 26 else 255
        size = 27 + count + sum(head[27 : 27 + count])
        page = file.bytes_at(position, size)
        if len(page) < size or len(head) < 27 + count:
            raise InputError(f"{name}: is cut short: its last Ogg page is missing")
        # The checksum reads every byte from its highest bit on, and zlib's from its
        # lowest. Neither its initial nor its final value is inverted, as zlib's are.
        bare = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
        checksum = (zlib.crc32(bare, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "little")
        if checksum.translate(_REVERSED)[::-1] != page[22:26]:
            raise InputError(
                f"{name}: is damaged: the Ogg page at byte {position} has a wrong "
                "checksum"
            )
        yield _Page(
            start=position,
            end=position + size,
            is_first=bool(page[5] & 2),
            is_last=bool(page[5] & 4),
        )
        position += size


def ogg_links(file: Section, name: str) -> list[Part]:
    """Divides an Ogg file into the files of which it was joined.

    Args:
        file: The file.
        name: The name of the file in error messages.

    Raises:
        InputError: A page is damaged, or the first or last one of a stream is missing.
    """
    links = list[list[_Page]]()
    before = None
    for page in _ogg_pages(file, name):
        if before is None or (page.is_first and not before.is_first):
            links.append([])
        # Of the pages, those that begin a stream and the last one are needed.
        links[-1] = [p for p in links[-1] if p.is_first]
        links[-1].append(page)
        before = page
    for pages in links:
        if not pages[0].is_first:
            raise InputError(f"{name}: is damaged: its first Ogg page is missing")
        if not pages[-1].is_last:
            raise InputError(f"{name}: is cut short: its last Ogg page is missing")
    end = links[-1][-1].end
    rest = file.bytes_at(end, 4096)
    if rest.strip(b"\0") and not rest.startswith(TAGS):
        raise InputError(
            f"{name}: is damaged: {len(file) - end} bytes that follow its Ogg page at "
            f"byte {links[-1][-1].start} are no page"
        )
    # libsndfile reads files of one stream; of several, one may hold pictures.
    return [
        Part(
            file=file.section(pages[0].start, pages[-1].end),
            for_libsndfile=sum(page.is_first for page in pages) == 1,
        )
        for pages in links
    ]
