"""The ranges in which a search looked for hyper-parameters, and their edges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from unmute_jax.config import Sweep
from unmute_jax.results.record import Record

# A range by the name of its hyper-parameter: its lowest and its highest value.
Ranges = Mapping[str, tuple[float, float]]

# A value lies at the edge of a range if it is within this share of either end, on the
# logarithmic scale on which ranges are searched: where a search ends half a factor of
# ten before its best value, more was to be had with a wider range.
EDGE = 0.05

# Of more ranges, only the lowest and the highest value are listed.
MOST_RANGES = 4

_NAMES = {
    "learning_rate": "learning rates",
    "weight_decay": "weight decays",
    "neighbours": "neighbours",
    "temperature": "temperatures",
}


def at_edge(value: float, ends: tuple[float, float]) -> bool:
    """Whether a value is in the outermost 5 % of a range, on a logarithmic scale.

    Args:
        value: The value that was chosen.
        ends: The lowest and the highest value of the range. A range of one value has
            no edge.
    """
    low, high = ends
    if not 0 < low < high:
        return False
    share = math.log(value / low) / math.log(high / low)
    # The ends themselves may be off by the rounding of a logarithm.
    return not EDGE < share < 1 - EDGE


def ranges_of(record: Record) -> Ranges:
    """The ranges that were searched for a record.

    Records of older versions do not hold them; their settings and trials tell.
    """
    if record.ranges:
        return {name: (low, high) for name, (low, high) in record.ranges.items()}
    rates = [t["learning_rate"] for t in record.search if "learning_rate" in t]
    if len(rates) < 2:
        return {}
    sweep: Mapping[str, Any] = record.settings.get("sweep", {})
    if record.settings.get("search") != "sweep":
        return {"learning_rate": (min(rates), max(rates))}
    # The only ranges before they were an option.
    older = Sweep(
        ranges=sweep.get("ranges", "paper"),
        lowest_rate=sweep.get("lowest_rate"),
        highest_rate=sweep.get("highest_rate"),
    )
    return {"learning_rate": older.rates_for(record.probe)}


def in_words(records: Iterable[Record]) -> str:
    """Lists what was searched, such as "learning rates 1e-05 to 0.3 (linear, mlp)".

    The probes are named if not all of them had the same range. Of many ranges, as
    records of older versions may have, only the outermost ends are given. The text is
    empty if nothing was searched.
    """
    found: dict[tuple[str, tuple[float, float]], list[str]] = {}
    probes = list[str]()
    for record in records:
        probes.append(record.probe)
        for name, ends in ranges_of(record).items():
            found.setdefault((name, ends), []).append(record.probe)
    searched = {probe for names in found.values() for probe in names}
    everyone = [p for p in dict.fromkeys(probes) if p in searched]
    parts = []
    for name in dict.fromkeys(name for name, _ in found):
        own = {ends: probes for (n, ends), probes in found.items() if n == name}
        noun = _NAMES.get(name, name)
        if len(own) > MOST_RANGES:
            low, high = min(x for x, _ in own), max(y for _, y in own)
            parts.append(f"{noun} in {len(own)} ranges between {low:g} and {high:g}")
            continue
        for (low, high), names in own.items():
            whose = list(dict.fromkeys(names))
            of_whom = "" if whose == everyone else f" ({', '.join(whose)})"
            parts.append(f"{noun} {low:g} to {high:g}{of_whom}")
    return f"searched: {'; '.join(parts)}" if parts else ""
