"""Draws k clips per class from recordings of any length, as Bird-MAE does.

A focal recording of BirdSet is made of one species. A detector has marked events in it
and clustered them by their sound. The rules are those of `fewshot.py` in Bird-MAE
(arXiv 2504.12880):

1. A recording qualifies if it lasts at most 20 s and has no second species ("lenient"),
   or if it lasts at most 5 s ("strict").
2. The usable events of a recording are those of its largest cluster that do not lie
   inside another event. The noise cluster (-1) is used only if there is no other.
   Without any event, the first five seconds are used.
3. A usable event, drawn at random, is the primary event of its recording. The other
   ones are used only when the primary events of a class are exhausted, so that clips
   come from as many recordings as possible.
4. Of each class, k primary events are drawn, then other usable events, until there are
   k or none is left. With `fill_up`, recordings that do not qualify supply the rest.

Differs from the reference in its generator (a draw depends on the seed, the class and
the names of the recordings, not on the order in which a disk lists them), in taking
lengths from the table, in whole seconds, and in counting events once if the same five
seconds would be cut out for them.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

SECONDS = 5.0
LENIENT_SECONDS = 20.0
NOISE = -1

Span = tuple[float, float]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Focal:
    """A focal recording.

    Attributes:
        name: Name that is unique among recordings.
        label: Index of its class.
        seconds: Its length in seconds.
        has_others: Whether it also has other species.
        events: Start and end of its usable events in seconds; see rule 2.
    """

    name: str
    label: int
    seconds: float
    has_others: bool
    events: tuple[Span, ...]

    def qualifies(self, *, strict: bool) -> bool:
        """Returns whether the recording qualifies by rule 1."""
        if strict:
            return self.seconds <= SECONDS
        return self.seconds <= LENIENT_SECONDS and not self.has_others


def usable_events(
    events: Sequence[Sequence[float]], clusters: Sequence[int], seconds: float
) -> tuple[Span, ...]:
    """Returns the events of rule 2, and the first one of those with the same window.

    Args:
        events: Start and end of every detected event in seconds.
        clusters: Cluster of each event. Among clusters of equal size, the lowest number
            wins.
        seconds: Length of the recording in seconds.
    """
    spans = [(float(start), float(end)) for start, end in events]
    sizes = collections.Counter(c for c in clusters if c != NOISE)
    largest = min(sizes, key=lambda c: (-sizes[c], c)) if sizes else NOISE
    same = [s for s, c in zip(spans, clusters, strict=True) if c == largest]
    outer = [s for s in same if not any(o[0] < s[0] and s[1] < o[1] for o in same)]
    windows = {window_start(span, seconds): span for span in reversed(outer)}
    return tuple(reversed(windows.values())) or ((0.0, SECONDS),)


def window_start(event: Span, seconds: float) -> float:
    """Returns the start of the five-second window of an event, in seconds.

    The event is in the middle of the window, as far as the recording extends. If the
    event is longer, the window is its beginning.

    Args:
        event: Start and end of the event in seconds.
        seconds: Length of the recording in seconds.
    """
    start, end = event
    before = max(0.0, (SECONDS - (end - start)) / 2)
    latest = max(0.0, seconds - SECONDS)
    return min(max(0.0, start - before), latest)


def primary(recording: Focal, seed: int) -> Span:
    """Returns the primary event of a recording; see rule 3."""
    rng = _generator(seed, recording.name)
    return recording.events[rng.integers(len(recording.events))]


def choose(
    recordings: Iterable[Focal],
    shots: int,
    *,
    seed: int,
    strict: bool = False,
    fill_up: bool = False,
) -> list[tuple[Focal, Span]]:
    """Draws at most `shots` events of each class, by rules 1, 3 and 4.

    Args:
        recordings: Recordings of all classes.
        shots: Number of events per class.
        seed: Seed of all draws.
        strict: Whether the strict form of rule 1 holds.
        fill_up: Whether recordings that do not qualify supply missing events.

    Returns:
        The recordings and their events, in the order of the classes.
    """
    of_class = collections.defaultdict[int, list[Focal]](list)
    for recording in sorted(recordings, key=lambda r: r.name):
        of_class[recording.label].append(recording)
    chosen: list[tuple[Focal, Span]] = []
    for label in sorted(of_class):
        rng = _generator(seed, f"class {label}")
        qualified = [r for r in of_class[label] if r.qualifies(strict=strict)]
        drawn = _draw(qualified, shots, seed, rng)
        if fill_up:
            others = [r for r in of_class[label] if not r.qualifies(strict=strict)]
            drawn += _draw(others, shots - len(drawn), seed, rng)
        chosen += drawn
    return chosen


def _draw(
    recordings: Sequence[Focal], count: int, seed: int, rng: np.random.Generator
) -> list[tuple[Focal, Span]]:
    """Draws primary events first, then other usable ones."""
    first = [(r, primary(r, seed)) for r in recordings]
    rest = [(r, e) for r, chosen in first for e in r.events if e != chosen]
    drawn = _sample(first, count, rng)
    return drawn + _sample(rest, count - len(drawn), rng)


def _sample(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Draws at most `count` items, which stay in their order."""
    rows = rng.permutation(len(items))[: max(0, count)]
    return [items[row] for row in sorted(rows)]


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
