"""A part of a file reads like a file of its own."""

import io

import pytest

from unmute_jax.audio.section import Section


@pytest.fixture
def section():
    return Section(io.BytesIO(b"..abcdefgh...."), 2, 10)


def test_it_holds_only_its_bytes(section):
    assert len(section) == 8
    assert section.read() == b"abcdefgh"
    assert section.read() == b""
    assert section.bytes_at(6, 100) == b"gh"
    section.seek(1)
    assert section.bytes_at(6, 1) + section.read(1) == b"gb"


def test_the_position_moves_as_in_a_file(section):
    assert section.read(3) == b"abc"
    assert section.seek(-2, io.SEEK_CUR) == 1
    assert section.read(2) == b"bc"
    assert section.seek(-1, io.SEEK_END) == 7
    assert section.read(5) == b"h"


def test_impossible_positions_do_no_harm(section):
    assert section.seek(-5) == 0
    section.seek(1 << 70)
    assert section.read(4) == b""
    assert section.bytes_at(9, 4) == b""


def test_parts_of_one_file_have_positions_of_their_own(section):
    inner = section.section(2, 5)
    assert section.read(2) == b"ab"
    assert inner.read() == b"cde"
    assert section.read(2) == b"cd"
    assert section.section(6).read() == b"gh"
