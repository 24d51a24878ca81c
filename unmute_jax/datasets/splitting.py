"""Makes splits for data sets that have none of their own.

Clips of one group (a recording, a site or a speaker) stay together, and every class is
spread over the splits as evenly as its groups allow. The rule is iterative
stratification (Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD
2011), which begins with the rarest class. Groups are assigned in the order of the
SHA-256 of their names, so the result depends neither on the order of the clips nor on a
generator.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence

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
    return hashlib.sha256(group.encode()).hexdigest()
