import pytest

from unmute_jax.datasets.own_clips import OwnEntry, with_groups
from unmute_jax.errors import InputError


def groups(files, pattern):
    entries = [OwnEntry(file=file, labels=("x",)) for file in files]
    found = with_groups(entries, pattern, "it")
    assert [entry.file for entry in found] == files
    return [entry.group for entry in found]


def test_the_group_stands_in_the_name_of_the_file():
    """A site is one group whichever class its clips lie in."""
    files = ["cat/siteA_1.wav", "dog/siteA_2.wav", "dog/siteB_1.wav"]
    assert groups(files, "^([^_]+)_") == ["siteA", "siteA", "siteB"]
    assert groups(files, r"_(\d)\.") == ["1", "2", "1"]


def test_a_pattern_with_a_slash_sees_the_folders():
    files = ["cat/north/1.wav", "dog/south/1.wav"]
    assert groups(files, "^[^/]+/([^/]+)/") == ["north", "south"]


def test_groups_are_normalised():
    assert groups(["a/Su\u0308d_1.wav", "a/Süd _2.wav"], "^(.+)_") == ["Süd", "Süd"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("^([^_]+)_", "finds no group in 1 of 2 files, the first is cat/b.wav"),
        ("^(x)?", "finds no group in 2 of 2 files"),
        ("[", "is not a regular expression"),
        ("^[^_]+_", "needs parentheses"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(pattern, message):
    with pytest.raises(InputError) as caught:
        groups(["cat/a_1.wav", "cat/b.wav"], pattern)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_groups_that_are_known_are_not_overwritten():
    entries = [OwnEntry(file="a_1.wav", labels=("x",), group="B")]
    with pytest.raises(InputError, match=r"a_1\.wav has the group 'B' already"):
        with_groups(entries, "^(.)", "it")
