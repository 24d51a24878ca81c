"""Onsets and offsets as labels of time steps, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, UInt8

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.store.reader import TokenStore

# (class, onset, offset), in seconds.
Event = tuple[int, float, float]

RULES = ("half", "any")
# Of a step: times in seconds are not exact multiples of it.
ROUNDING = 1e-6


def rasterise(
    events: Iterable[Event],
    steps: int,
    seconds_per_step: float,
    num_classes: int,
    rule: str = "half",
) -> UInt8[np.ndarray, "T C"]:
    """One where a class sounds in a time step, else zero.

    Step `t` lasts from `t` to `t + 1` times `seconds_per_step`. What of an event lies
    behind the last step is lost.

    Args:
        events: Of one clip.
        steps: T.
        seconds_per_step: Of the encoder.
        num_classes: C.
        rule: "half", the events of a class cover at least half of the step; "any", they
            cover any of it, as in the DCASE challenges. Under "half" an event shorter
            than half a step may be in no step at all.

    Raises:
        InputError: An unknown rule.
    """
    if rule not in RULES:
        raise unknown_name("rule for frame labels", rule, RULES)
    covered = np.zeros((steps, num_classes))
    starts = np.arange(steps)
    for c, onset, offset in united(events):
        a, b = onset / seconds_per_step, offset / seconds_per_step
        overlap = np.minimum(b, starts + 1) - np.maximum(a, starts)
        covered[:, c] += np.maximum(overlap, 0)
    enough = covered >= 0.5 - ROUNDING if rule == "half" else covered > ROUNDING
    return enough.astype(np.uint8)


def frame_labels(store: TokenStore, rule: str) -> UInt8[np.ndarray, "n T C"]:
    """`rasterise` for all clips of a store, at the steps of its encoder.

    Raises:
        InputError: A clip has a class of which no onset and offset is known.
    """
    steps, _, _ = store.grid
    seconds = store.manifest["geometry"]["seconds_per_step"]
    check_events(store)
    made = [
        rasterise(events, steps, seconds, len(store.classes), rule)
        for events in store.events
    ]
    return np.stack(made)


def check_events(store: TokenStore) -> None:
    """Refuses clips that have a class without any onset and offset.

    Raises:
        InputError: Names the first of them.
    """
    for clip, labels, events in zip(store.ids, store.labels, store.events, strict=True):
        for c in set(np.flatnonzero(labels).tolist()) - {c for c, *_ in events}:
            raise InputError(
                f"clip {clip!r} of {store.key['dataset']} has the class "
                f"{store.classes[c]!r} but no onset and offset of it: "
                "config.labels=frames needs them for every clip"
            )


def events_in(active: Bool[np.ndarray, "T C"], seconds_per_step: float) -> list[Event]:
    """Runs of time steps in which a class is active, by class and onset."""
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    found: list[Event] = []
    for c, column in enumerate(edges.T):
        onsets, offsets = np.flatnonzero(column == 1), np.flatnonzero(column == -1)
        found += [
            (c, float(a) * seconds_per_step, float(b) * seconds_per_step)
            for a, b in zip(onsets, offsets, strict=True)
        ]
    return found


def smoothed(
    scores: Float[np.ndarray, "*n T C"], seconds: float, seconds_per_step: float
) -> Float[np.ndarray, "*n T C"]:
    """The median over `seconds` around each time step, an odd number of them."""
    reach = round((seconds / seconds_per_step - 1) / 2)
    if reach < 1:
        return scores
    size = (1,) * (scores.ndim - 2) + (2 * reach + 1, 1)
    return scipy.ndimage.median_filter(scores, size, mode="nearest")


def united(events: Iterable[Event]) -> Iterator[Event]:
    """The same, by class and onset; events of a class that overlap become one."""
    last: Event | None = None
    for c, onset, offset in sorted(events):
        if last is not None and c == last[0] and onset <= last[2]:
            last = (c, last[1], max(last[2], offset))
        else:
            if last is not None:
                yield last
            last = (c, onset, offset)
    if last is not None:
        yield last
