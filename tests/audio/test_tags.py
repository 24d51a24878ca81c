"""Tags in front of the sound have the size that they state."""

import io

from unmute_jax.audio.section import Section
from unmute_jax.audio.tags import size_of_tags, tag_size


def test_sizes_of_tags():
    # Each byte of the size of an ID3v2 tag holds seven bits.
    assert tag_size(b"ID3\x04\0\0\0\0\x02\x01 more") == 10 + 257
    assert tag_size(b"TAGtitle") == 128
    assert tag_size(b"RIFF") == tag_size(b"ID3") == tag_size(b"") == 0


def test_all_tags_at_the_beginning_count():
    tag = b"ID3\x04\0\0\0\0\0\x05" + bytes(5)
    data = tag + tag + b"\xff\xfb"
    assert size_of_tags(Section(io.BytesIO(data), 0, len(data))) == 30
