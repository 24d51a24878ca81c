import pytest

from unmute_jax.datasets.names import (
    is_fold,
    listed,
    normal_name,
    notes_on_similar,
    split_named,
)


def test_a_name_is_composed_and_loses_surrounding_blanks():
    composed, decomposed = "Möwe", "Mo\u0308we"
    assert composed != decomposed
    for name in (composed, decomposed, f" {decomposed}\t", f"\ufeff{composed}\u00a0"):
        assert normal_name(name) == composed
    assert normal_name("great  tit") == "great  tit"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "validation"),
        ("VALID", "validation"),
        (" dev ", "validation"),
        ("validation", "validation"),
        ("eval", "test"),
        ("testing", "test"),
        ("Train Set", "train"),
        ("trainset", "train"),
        ("audio_test", "test"),
        ("val-data", "validation"),
        ("trains", None),
        ("", None),
        ("set", None),
        ("test tone", None),
        ("train whistle", None),
    ],
)
def test_the_names_of_splits_that_people_use(name, split):
    assert split_named(name) == split


def test_folders_that_are_named_like_folds():
    assert all(map(is_fold, ("fold1", "Fold 02", "fold_3", "fold-10")))
    assert not any(map(is_fold, ("1", "fold", "folder1", "fold1a")))


def test_names_that_may_be_meant_as_one_are_told_together():
    (one, two) = notes_on_similar(["Dog", "cat", "great tit", "dog", "great_tit"])
    assert one.startswith("'Dog' and 'dog' are different classes")
    assert two.startswith("'great tit' and 'great_tit' are")
    assert notes_on_similar(["dog", "dogs"]) == []


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
