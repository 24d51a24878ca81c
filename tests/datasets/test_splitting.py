import collections

import numpy as np

from unmute_jax.datasets.splitting import folds_by_rule, split_by_rule

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


def test_folds_of_unequal_groups_are_alike_in_classes_and_in_size():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, 40)
    sites = np.repeat(range(40), sizes).tolist()
    groups = [f"site {site}" for site in sites]
    labels = [sorted({site % 4, int(rng.integers(4))}) for site in sites]

    def unevenness(folds):
        """The largest deviation of a class from its mean over folds, in its share."""
        counts = np.zeros((5, 5))
        for fold, of_clip in zip(folds, labels, strict=True):
            counts[int(fold[-1]) - 1, [*of_clip, 4]] += 1
        return np.abs(5 * counts / counts.sum(0) - 1).max()

    folds = folds_by_rule(groups, labels, 4, 5)
    fold_of = dict(zip(groups, folds, strict=True))
    assert [fold_of[group] for group in groups] == folds
    at_random = (rng.integers(1, 6, 40) for _ in range(200))
    others = [unevenness([str(drawn[site]) for site in sites]) for drawn in at_random]
    assert unevenness(folds) < 0.75 * min(others)
    order = rng.permutation(len(groups)).tolist()
    shuffled = folds_by_rule(
        [groups[i] for i in order], [labels[i] for i in order], 4, 5
    )
    assert shuffled == [folds[i] for i in order]
