"""Clips are divided as they are given, by rule, or into folds."""

import collections

import pytest

from unmute_jax.datasets.division import divide
from unmute_jax.errors import InputError

CLASSES = ("cat", "dog")


def sites(count, each=4):
    """Ids, labels and groups of `each` clips at every site, of both classes."""
    clips = [(site, take) for site in range(count) for take in range(each)]
    ids = [f"{site}-{take}.wav" for site, take in clips]
    labels = [[take % 2] for _, take in clips]
    return ids, labels, [f"site {site}" for site, _ in clips]


def divided(ids, labels, groups=(), **options):
    return divide(ids, labels, classes=CLASSES, where="it", groups=groups, **options)


def parts_of(division, protocol):
    return [
        [row for split in splits for row in division.rows[split]]
        for splits in (protocol.train, protocol.validation, protocol.test)
    ]


def test_one_group_is_left_out_at_a_time():
    ids, labels, groups = sites(4)
    division = divided(ids, labels, groups, folds="groups")
    assert [p.name for p in division.protocols] == [
        f"test fold {k + 1} of 4 (site {k})" for k in range(4)
    ]
    tested = []
    for protocol in division.protocols:
        parts = parts_of(division, protocol)
        assert sorted(row for part in parts for row in part) == list(range(16))
        in_parts = [{groups[row] for row in part} for part in parts]
        assert [len(part) for part in in_parts] == [2, 1, 1]
        assert set.union(*in_parts) == set(groups)
        tested += in_parts[2]
    assert sorted(tested) == sorted(set(groups))


@pytest.mark.parametrize("folds", [3, "3"])
def test_folds_of_groups_share_none_and_are_alike(folds):
    ids, labels, groups = sites(9)
    division = divided(ids, labels, groups, folds=folds)
    assert list(division.rows) == ["fold1", "fold2", "fold3"]
    in_folds = [{groups[row] for row in rows} for rows in division.rows.values()]
    assert [len(fold) for fold in in_folds] == [3, 3, 3]
    assert len(set.union(*in_folds)) == 9
    for rows in division.rows.values():
        assert collections.Counter(labels[row][0] for row in rows) == {0: 6, 1: 6}
    assert [p.test for p in division.protocols] == [("fold1",), ("fold2",), ("fold3",)]
    assert division.protocols[2].validation == ("fold1",)
    assert division.notes == ()


def test_clips_without_groups_are_folded_by_class():
    labels = [[0]] * 10 + [[1]] * 5 + [[]] * 5
    division = divided([str(i) for i in range(20)], labels, folds=5)
    for rows in division.rows.values():
        assert sorted(map(len, (labels[r] for r in rows))) == [0, 1, 1, 1]
        assert sum(labels[r] == [1] for r in rows) == 1


def test_groups_that_are_written_in_two_ways_are_one():
    ids, labels, _ = sites(4)
    names = [("Süd", "Su\u0308d ")[i % 2] if i < 4 else f"{i // 4}" for i in range(16)]
    assert len(divided(ids, labels, names, folds="groups").rows) == 4


def test_a_fold_that_tests_an_untrained_class_is_told():
    ids, _, groups = sites(4)
    only_at_one = [[1] if group == "site 2" else [0] for group in groups]
    (note,) = divided(ids, only_at_one, groups, folds="groups").notes
    assert note == "class dog has no training clip for a fold that tests on some"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 2}, "2 folds of 4 groups; dataset_options.folds may be 3 to 4"),
        ({"folds": 5}, "5 folds of 4 groups"),
        ({"folds": 3, "groups": ["a", "b"] * 8}, "2 groups are too few for folds"),
        ({"folds": "sites"}, "folds='sites' is neither 'groups' nor a number"),
        ({"folds": "groups", "groups": ()}, "16 of 16 have none, the first is 0-0.wav"),
        ({"folds": 4, "given": ["train"] * 16}, "its clips have given splits"),
        ({"given": ["train"] * 15 + [""]}, "some clips have a split and others none"),
        (
            {"given": ["train"] * 15 + ["test"]},
            "group 'site 3' is in train and in test",
        ),
        ({"given": ["test"] * 16}, "leave none for train and validation"),
    ],
)
def test_what_cannot_be_divided_is_refused(change, message):
    ids, labels, groups = sites(4)
    with pytest.raises(InputError) as caught:
        divided(ids, labels, **{"groups": groups, **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "given", "few", "remedy"),
    [
        (
            3,
            "",
            "3 groups leave none for test",
            "or test one group after the other with dataset_options.folds=groups",
        ),
        (
            2,
            "",
            "2 groups leave none for test",
            "dataset_options.folds=groups, which needs 3 groups or more",
        ),
        (
            1,
            "",
            "1 group leaves none for validation and test",
            "dataset_options.folds=groups, which needs 3 groups or more",
        ),
        (
            2,
            "train",
            "2 groups leave none for test",
            "add groups or give every clip its split",
        ),
    ],
)
def test_groups_that_are_too_few_are_named(count, given, few, remedy):
    ids, labels, groups = sites(count, each=48)
    with pytest.raises(InputError) as caught:
        divided(ids, labels, groups, given=[given] * len(ids))
    named = ", ".join(f"site {i}" for i in range(count))
    assert str(caught.value).startswith(
        f"it: {few}, because the clips of a group stay together ({named}); "
    )
    assert str(caught.value).endswith(remedy)


def test_classes_without_training_or_test_clips_are_told():
    given = ["train", "train", "validation", "test"]
    division = divided(list("abcd"), [[0], [0], [1], [1]], given=given)
    assert division.protocols[0].name == "given splits"
    assert division.notes == (
        "class dog has no training clip",
        "class cat has no test clip",
    )
