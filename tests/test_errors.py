import pytest

from unmute_jax.errors import one_line, printable, unknown_name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("protobim", "did you mean 'protobin'?"),
        ("PROTOBIN", "did you mean 'protobin'?"),
        ("xyz", "known: linear, protobin"),
    ],
)
def test_an_unknown_name_is_answered_with_the_most_similar_or_all(name, hint):
    error = unknown_name("probe", name, ["protobin", "linear", "protobin"])
    assert str(error) == f"unknown probe {name!r}: {hint}"


def test_the_place_of_an_unknown_name_comes_first():
    error = unknown_name("split", "val", ["train", "test"], "clips.csv, line 8")
    line = "clips.csv, line 8: unknown split 'val': known: test, train"
    assert str(error) == line


def test_foreign_text_becomes_one_short_line():
    assert one_line("a\x1b[31m\n\tb ") == "a [31m b"
    assert one_line("x" * 50, 10) == "x" * 10 + " ..."


def test_what_a_terminal_would_obey_is_made_visible():
    assert printable("a\x1b[31m\tb\nc") == "a\\x1b[31m\\tb\nc"
    assert printable("été 蛙") == "été 蛙"
    # The joiners are letters of some scripts.
    assert printable("می\u200cخواهم") == one_line("می\u200cخواهم") == "می\u200cخواهم"


def test_long_names_and_long_lists_are_cut():
    error = unknown_name("key", "x\n" * 100_000, [f"option {i}" for i in range(900)])
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert str(error).endswith(" more")
    assert "known: option 0, option 1, option 10, option 100, " in str(error)
