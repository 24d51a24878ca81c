"""The rules that make splits and folds for data sets that have none of their own.

Clips of one group (a recording, a site or a speaker) stay together, and every class is
spread over the splits as evenly as its groups allow. The rule for splits is iterative
stratification (Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD
2011), which begins with the rarest class. Folds, which should be equally large, have a
rule of their own; scikit-learn's `StratifiedGroupKFold` is similar but takes clips of
one class only. Groups are taken in the order of the SHA-256 of their names, so the
result depends neither on the order of the clips nor on a generator.
"""

from __future__ import annotations

import collections
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

# Shares of the clips; train gets the rest.
SHARES = {"validation": 0.2, "test": 0.2}


def split_by_rule(
    groups: Sequence[str], labels: Sequence[Sequence[int]], wanted: Sequence[str]
) -> list[str]:
    """Assigns every clip to a split.

    Args:
        groups: Group of each clip.
        labels: Class indices of each clip, which may be none.
        wanted: Splits to make beside "train", from `SHARES`.

    Returns:
        The split of each clip: "train" or one of `wanted`.
    """
    shares = {name: SHARES[name] for name in wanted}
    shares = {"train": 1 - sum(shares.values()), **shares}
    members = collections.defaultdict[str, list[int]](list)
    for clip, group in enumerate(groups):
        members[group].append(clip)
    counts = {g: _class_counts(clips, labels) for g, clips in members.items()}
    # Groups of each class, and its clips that are not assigned yet.
    groups_of = collections.defaultdict[int, set[str]](set)
    left = collections.Counter[int]()
    for group, count in counts.items():
        left.update(count)
        for c in count:
            groups_of[c].add(group)
    need = {s: {c: share * n for c, n in left.items()} for s, share in shares.items()}
    room = {s: share * len(groups) for s, share in shares.items()}
    split_of: dict[str, str] = {}
    while len(split_of) < len(members):
        rarest = min(left, key=lambda c: (left[c], c)) if left else None
        candidates = members if rarest is None else groups_of[rarest]
        for group in sorted((g for g in candidates if g not in split_of), key=_rank):
            split = max(shares, key=lambda s: _priority(need[s], room[s], rarest))
            split_of[group] = split
            room[split] -= len(members[group])
            for c, n in counts[group].items():
                need[split][c] -= n
                left[c] -= n
                if not left[c]:
                    del left[c]
    return [split_of[group] for group in groups]


def folds_by_rule(
    groups: Sequence[str], labels: Sequence[Sequence[int]], classes: int, count: int
) -> list[str]:
    """Assigns every clip to a fold, so that folds are alike in classes and in size.

    Groups are assigned one after the other, those with the largest shares of their
    classes first, to the fold that has least of the same classes: that with the
    smallest dot product of shares, which keeps the sum of squares smallest.

    Args:
        groups: Group of each clip.
        labels: Class indices of each clip, which may be none.
        classes: Number of classes.
        count: Number of folds.

    Returns:
        The fold of each clip, "fold1" to "foldK".
    """
    names = sorted(set(groups), key=_rank)
    row = {name: i for i, name in enumerate(names)}
    # The last column counts clips. Integers, so that no two machines round differently.
    counts = np.zeros((len(names), classes + 1), np.int64)
    for group, of_clip in zip(groups, labels, strict=True):
        counts[row[group], [*of_clip, classes]] += 1
    shares = (counts << 24) // np.maximum(counts.sum(0), 1)
    sums = np.zeros((count, classes + 1), np.int64)
    fold_of: dict[str, str] = {}
    for i in np.argsort(-shares.sum(1), kind="stable"):
        fold = int(np.argmin(sums @ shares[i]))
        sums[fold] += shares[i]
        fold_of[names[i]] = f"fold{fold + 1}"
    return [fold_of[group] for group in groups]


def _class_counts(
    clips: Sequence[int], labels: Sequence[Sequence[int]]
) -> collections.Counter[int]:
    return collections.Counter(c for clip in clips for c in labels[clip])


def _priority(
    need: Mapping[int, float], room: float, label: int | None
) -> tuple[float, float]:
    """Returns how much a split lacks of a class, then how much it lacks of all."""
    return (0.0 if label is None else need[label], room)


def _rank(group: str) -> str:
    # macOS stores an umlaut of a file name as two characters, other systems as one.
    name = unicodedata.normalize("NFC", group)
    return hashlib.sha256(name.encode()).hexdigest()
