"""Chooses what an average is taken over, so that all averages of a table are alike."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar

Item = TypeVar("Item", bound=Hashable)


def common_items(
    items_of: Mapping[Any, Collection[Item]], order: Iterable[Item]
) -> tuple[Item, ...]:
    """The items, such as data sets, over which all entries of a table are averaged.

    They are those that give the most numbers (entries times items), where an entry
    counts only if it has all of these items. On ties, more entries win. Where every
    entry has the same items, these are they.

    Args:
        items_of: The items of each entry.
        order: All items, in the order in which they are returned.
    """
    sets = {frozenset(items) for items in items_of.values() if items}
    candidates = sets | {a & b for a, b in itertools.combinations(sets, 2)}
    if sets:
        candidates.add(frozenset.intersection(*sets))

    def worth(chosen: frozenset[Item]) -> tuple[int, int]:
        having = sum(chosen <= frozenset(items) for items in items_of.values())
        return having * len(chosen), having

    order = list(order)
    # In a fixed order, because sets have none.
    ranked = sorted(candidates, key=lambda c: sorted(order.index(x) for x in c))
    best = max(ranked, key=worth, default=frozenset[Item]())
    return tuple(item for item in order if item in best)
