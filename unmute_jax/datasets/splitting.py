"""Splits by rule, where a data set has none of its own.

Clips of one group (a recording, a site, a speaker) never part, and every class is
spread over the splits as evenly as its groups allow: iterative stratification
(Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD 2011), the
rarest class first. Ties fall by the SHA-256 of the group's name, so that the result
depends on neither the order of the clips nor a generator.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence

# Of the clips, where train is split in three; in two, validation or test take theirs.
SHARES = {"validation": 0.2, "test": 0.2}


def split_by_rule(
    groups: Sequence[str], labels: Sequence[Sequence[int]], wanted: Sequence[str]
) -> list[str]:
    """The split of every clip.

    Args:
        groups: Of each clip.
        labels: Of each clip: its class indices, none for a clip without a class.
        wanted: Which of `SHARES` to make; the rest of the clips is "train".

    Returns:
        "train" or one of `wanted` for each clip.
    """
    shares = {name: SHARES[name] for name in wanted}
    shares = {"train": 1 - sum(shares.values()), **shares}
    members = collections.defaultdict[str, list[int]](list)
    for clip, group in enumerate(groups):
        members[group].append(clip)
    counts = {g: _class_counts(clips, labels) for g, clips in members.items()}
    # What is left of every class, in groups and in clips.
    holders = collections.defaultdict[int, set[str]](set)
    left = collections.Counter[int]()
    for group, count in counts.items():
        left.update(count)
        for c in count:
            holders[c].add(group)
    need = {s: {c: share * n for c, n in left.items()} for s, share in shares.items()}
    room = {s: share * len(groups) for s, share in shares.items()}
    found: dict[str, str] = {}
    while len(found) < len(members):
        rarest = min(left, key=lambda c: (left[c], c)) if left else None
        mine = members if rarest is None else holders[rarest]
        for group in sorted((g for g in mine if g not in found), key=_rank):
            split = max(shares, key=lambda s: _wish(need[s], room[s], rarest))
            found[group] = split
            room[split] -= len(members[group])
            for c, n in counts[group].items():
                need[split][c] -= n
                left[c] -= n
                if not left[c]:
                    del left[c]
    return [found[group] for group in groups]


def _class_counts(
    clips: Sequence[int], labels: Sequence[Sequence[int]]
) -> collections.Counter[int]:
    return collections.Counter(c for clip in clips for c in labels[clip])


def _wish(
    need: Mapping[int, float], room: float, label: int | None
) -> tuple[float, float]:
    """How much a split wants a group: for its class first, then for its size."""
    return (0.0 if label is None else need[label], room)


def _rank(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()
