"""Finds tags of MP3 players, which stand in front of any format and behind it."""

from unmute_jax.audio.section import Section

# The beginnings of tags.
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


def tag_size(head: bytes) -> int:
    """Returns the size of the ID3 tag that begins with `head`; 0 if none does."""
    if head[:3] == b"TAG":
        return 128
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    high, mid, low, lowest = head[6:10]
    return 10 + (high << 21 | mid << 14 | low << 7 | lowest)


def size_of_tags(file: Section) -> int:
    """Returns the size of all ID3 tags at the beginning of a file."""
    start = 0
    while size := tag_size(file.bytes_at(start, 10)):
        start += size
    return start
