"""k clips per class out of recordings of any length, as Bird-MAE draws them.

A focal recording of BirdSet is of one species, and a detector has marked events in it,
grouped in clusters by sound. The rules are those of `fewshot.py` of Bird-MAE (arXiv
2504.12880):

1. Recordings that qualify: at most 20 s and no second species ("lenient"), or at most
   5 s ("strict").
2. Events of a recording: of its largest cluster, noise (-1) only where there is nothing
   else, and none that lies inside another; without any, its first five seconds.
3. One of them, at random, is the primary event of the recording; the others are left
   over, so that clips come from different recordings as long as these last.
4. Per class k primary events; where there are fewer, left-over ones as well; where
   these are too few, everything there is. With `fill_up`, recordings that do not
   qualify complete it.

Differs in the generator (a draw depends on the seed, the class and the names of
recordings, not on the order in which a disk lists them), in taking lengths from the
table, in whole seconds, and in that events of which the same five seconds would be cut
out count once.
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
    """A recording of one species.

    Attributes:
        name: Unique.
        label: Its class.
        seconds: Its length.
        has_others: Whether other species are heard.
        events: (start, end) in seconds, after rule 2.
    """

    name: str
    label: int
    seconds: float
    has_others: bool
    events: tuple[Span, ...]

    def qualifies(self, *, strict: bool) -> bool:
        """Rule 1."""
        if strict:
            return self.seconds <= SECONDS
        return self.seconds <= LENIENT_SECONDS and not self.has_others


def heard(
    events: Sequence[Sequence[float]], clusters: Sequence[int], seconds: float
) -> tuple[Span, ...]:
    """Rule 2; of events that would be cut out alike, the first one.

    Args:
        events: (start, end) in seconds of everything that was detected.
        clusters: Of each event; equally large ones fall to the lower number.
        seconds: Length of the recording.
    """
    spans = [(float(start), float(end)) for start, end in events]
    sizes = collections.Counter(c for c in clusters if c != NOISE)
    largest = min(sizes, key=lambda c: (-sizes[c], c)) if sizes else NOISE
    kept = [s for s, c in zip(spans, clusters, strict=True) if c == largest]
    outer = [s for s in kept if not any(o[0] < s[0] and s[1] < o[1] for o in kept)]
    windows = {window_start(span, seconds): span for span in reversed(outer)}
    return tuple(reversed(windows.values())) or ((0.0, SECONDS),)


def window_start(event: Span, seconds: float) -> float:
    """Where the five seconds around an event begin.

    The event is in their middle, unless the recording begins or ends before them; of a
    longer event they are the beginning.

    Args:
        event: Start and end in seconds.
        seconds: Length of the recording.
    """
    start, end = event
    before = max(0.0, (SECONDS - (end - start)) / 2)
    latest = max(0.0, seconds - SECONDS)
    return min(max(0.0, start - before), latest)


def primary(recording: Focal, seed: int) -> Span:
    """Rule 3."""
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
    """Rules 1, 3 and 4: at most `shots` events of each class, by class."""
    of_class = collections.defaultdict[int, list[Focal]](list)
    for recording in sorted(recordings, key=lambda r: r.name):
        of_class[recording.label].append(recording)
    chosen: list[tuple[Focal, Span]] = []
    for label in sorted(of_class):
        rng = _generator(seed, f"class {label}")
        good = [r for r in of_class[label] if r.qualifies(strict=strict)]
        found = _draw(good, shots, seed, rng)
        if fill_up:
            others = [r for r in of_class[label] if not r.qualifies(strict=strict)]
            found += _draw(others, shots - len(found), seed, rng)
        chosen += found
    return chosen


def _draw(
    recordings: Sequence[Focal], count: int, seed: int, rng: np.random.Generator
) -> list[tuple[Focal, Span]]:
    """Primary events first, then left-over ones."""
    first = [(r, primary(r, seed)) for r in recordings]
    rest = [(r, e) for r, chosen in first for e in r.events if e != chosen]
    found = _some(first, count, rng)
    return found + _some(rest, count - len(found), rng)


def _some(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Some of them, in their order."""
    rows = rng.permutation(len(items))[: max(0, count)]
    return [items[row] for row in sorted(rows)]


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
