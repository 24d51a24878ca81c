import pytest

from unmute_jax.datasets.row_labels import RowLabels, counted
from unmute_jax.errors import InputError

NAMES = ("dog", "cat", "owl")


def read(values, declared=(), **options):
    labels = RowLabels(**options)
    found = labels.names(values, [declared] * len(values), "row {}".format)
    return found, labels.classes


def refused(values, declared=(), **options):
    with pytest.raises(InputError) as caught:
        read(values, declared, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "declared", "found", "classes"),
    [
        ([1, 0], NAMES, [("cat",), ("dog",)], NAMES),
        ([[2, 0], [], [1]], NAMES, [("owl", "dog"), (), ("cat",)], NAMES),
        (["b ", "a"], (), [("b",), ("a",)], ("a", "b")),
        ([["b", "a", "b"], []], (), [("b", "a"), ()], ("a", "b")),
        (["b; a;", ""], (), [("b", "a"), ()], ("a", "b")),
        ([10, 9.0], (), [("10",), ("9",)], ("9", "10")),
        ([True, False], (), [("true",), ("false",)], ("false", "true")),
        ([[1, 0, 1], [0, 0, 0]], (), [("0", "2"), ()], ("0", "1", "2")),
        ([[0.0, 1.0], [1.0, 1.0]], (), [("1",), ("0", "1")], ("0", "1")),
        ([[False, True]], (), [("1",)], ("0", "1")),
        # Lists of one number, or of different lengths, are indices.
        ([[0], [1]], (), [("0",), ("1",)], ("0", "1")),
        ([[0, 1], [1]], (), [("0", "1"), ("1",)], ("0", "1")),
        # The same name in two forms of Unicode.
        (["Mo\u0308we", "M\u00f6we"], (), [("Möwe",)] * 2, ("Möwe",)),
    ],
)
def test_kinds_of_labels(values, declared, found, classes):
    assert read(values, declared) == (found, classes)


@pytest.mark.parametrize(
    ("values", "declared", "message"),
    [
        ([0, None], NAMES, "row 1: has no label"),
        ([0, 3], NAMES, "row 1: its label is 3, of classes 0 to 2"),
        ([0, -1], NAMES, "row 1: its label is -1, which means that it has none"),
        ([[0], [-2]], NAMES, "row 1: its label is -2, of classes 0 to 2"),
        ([0, -2], (), "row 1: its label is -2, not 0 or more"),
        ([0, 0.5], (), "row 1: its label is 0.5, neither the name nor the number"),
        ([0, 10**400], (), "row 1: its label is 1000"),
        ([0, float("inf")], NAMES, "row 1: its label is inf, neither"),
        ([0, float("nan")], (), "row 1: its label is nan, neither"),
        ([["a", " "]], (), "row 0: has an empty label"),
        ([{"a": 1}], (), "row 0: its label is {'a': 1}, neither"),
        ([[["a"]]], (), "row 0: its label is ['a'], neither"),
        ([b"dog"], (), "row 0: its label is b'dog', neither"),
        ([[1, 0, 0], [1, 0]], (), "row 0: its labels name a class twice"),
        (["dog", 3], (), "row 0: its label is a name, but that of row 1 is a number"),
        ([3, ["dog"]], (), "row 1: its label is a name, but that of row 0"),
    ],
)
def test_bad_labels_are_named(values, declared, message):
    assert refused(values, declared).startswith(message)


def test_texts_that_look_like_lists_are_refused():
    lists = ["Hi-hat,Cymbal", "Cymbal,Drum", "Hi-hat,Drum"]
    assert "row 0: its label 'Hi-hat,Cymbal' looks like a list" in refused(lists)
    assert "dataset_options.label_separator='|' separates" in refused(["a|b", "a", "b"])
    assert read(lists, separator=",")[1] == ("Cymbal", "Drum", "Hi-hat")
    assert read(lists, separator=";")[1] == tuple(sorted(lists))
    assert read(["a;b", "a"], separator="")[1] == ("a", "a;b")
    names = ["Male speech, man speaking", "Speech", "Bird, singing"]
    assert read(names)[1] == tuple(sorted(names))


def test_rows_without_labels_may_be_skipped():
    skipped = []
    found, classes = read([0, None, 7, None], NAMES, skip=skipped.append)
    assert found == [("dog",), None, None, None]
    assert classes == NAMES
    assert counted(skipped) == [
        "3 rows left out (2 has no label, 1 its label is 7, of classes 0 to 2), the "
        "first: row 1: has no label"
    ]
    assert counted([]) == []


def test_tables_may_declare_different_orders():
    labels = RowLabels()
    found = labels.names([0, 0, 1], [("a", "b"), ("b", "a"), ("b", "c")], str)
    assert found == [("a",), ("b",), ("c",)]
    assert labels.classes == ("a", "b", "c")
