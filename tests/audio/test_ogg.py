"""Damage inside Ogg files is seen, and joined files are divided."""

import io

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.audio.ogg import ogg_links
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError


def written(samples=20_000, subtype="VORBIS"):
    file = io.BytesIO()
    x = 0.1 * np.random.default_rng(0).standard_normal(samples)
    sf.write(file, x, 16_000, format="OGG", subtype=subtype)
    return file.getvalue()


def links(data):
    return ogg_links(Section(io.BytesIO(data), 0, len(data)), "x")


def refusal(data):
    with pytest.raises(InputError) as caught:
        links(data)
    return str(caught.value)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_whole_files_are_accepted(subtype):
    one, two = written(), written(8000, subtype)
    parts = links(one + two + two)
    assert [part.file.read() for part in parts] == [one, two, two]
    assert all(part.for_libsndfile for part in parts)


@pytest.mark.parametrize("behind", [bytes(300), b"TAG" + bytes(125)])
def test_padding_and_tags_may_follow(behind):
    assert len(links(written() + behind)) == 1
    assert "are no page" in refusal(written() + b"sound" + behind)


def test_every_changed_bit_is_seen():
    data = bytearray(written())
    for at in range(30, len(data), 501):
        data[at] ^= 1
        refusal(bytes(data))
        data[at] ^= 1
    assert links(bytes(data))


def test_missing_pages_are_seen():
    data = written()
    first, last = data.index(b"OggS", 4), data.rindex(b"OggS")
    assert "its first Ogg page is missing" in refusal(data[first:])
    for end in (last, last + 10, last + 40, len(data) - 1):
        assert "its last Ogg page is missing" in refusal(data[:end])
