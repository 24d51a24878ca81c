import collections

import numpy as np

from unmute_jax.datasets.splitting import split_by_rule

WANTED = ("validation", "test")


def test_the_split_does_not_depend_on_the_order():
    groups = [str(i // 2) for i in range(40)]
    labels = [[i % 3] for i in range(40)]
    splits = split_by_rule(groups, labels, WANTED)
    order = np.random.default_rng(0).permutation(40)
    shuffled = split_by_rule(
        [groups[i] for i in order], [labels[i] for i in order], WANTED
    )
    # Groups and class counts are the same, so every decision is.
    assert [splits[i] for i in order] == shuffled
    assert collections.Counter(splits)["train"] == 24


def test_groups_stay_together_and_classes_are_spread():
    groups = [f"site {i // 3}" for i in range(60)]
    labels = [[i // 3 % 2] for i in range(60)]
    splits = split_by_rule(groups, labels, WANTED)
    for group in set(groups):
        assert len({s for s, g in zip(splits, groups, strict=True) if g == group}) == 1
    counts = collections.Counter((s, c) for s, (c,) in zip(splits, labels, strict=True))
    assert counts["validation", 0] == counts["validation", 1] == 6
    assert counts["test", 0] == counts["test", 1] == 6


def test_clips_without_a_class_are_spread_by_size():
    splits = split_by_rule([str(i) for i in range(10)], [[]] * 10, ["validation"])
    assert collections.Counter(splits) == {"train": 8, "validation": 2}
