"""Converts onsets and offsets to labels of time steps, and scores back to events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float, UInt8

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.store.reader import TokenStore

# (class, onset, offset), the times in seconds.
Event = tuple[int, float, float]

RULES = ("half", "any")
# Tolerance in time steps: times in seconds are not exact multiples of a time step.
ROUNDING = 1e-6


def rasterise(
    events: Iterable[Event],
    steps: int,
    seconds_per_step: float,
    num_classes: int,
    rule: str = "half",
) -> UInt8[np.ndarray, "T C"]:
    """The labels of the time steps of a clip: 1 where a class is active, else 0.

    Step `t` lasts from `t` to `t + 1` times `seconds_per_step`. Parts of events after
    the last step are dropped.

    Args:
        events: The events of one clip.
        steps: The number of time steps T.
        seconds_per_step: The length of one time step of the encoder.
        num_classes: The number of classes C.
        rule: When a class is active in a step. "half": its events cover at least half
            of the step. "any": they cover any part of it, as in the DCASE challenges.
            With "half", an event shorter than half a step may be in no step at all.

    Raises:
        InputError: The rule is unknown.
    """
    if rule not in RULES:
        raise unknown_name("rule for frame labels", rule, RULES)
    covered = np.zeros((steps, num_classes))
    starts = np.arange(steps)
    for c, onset, offset in merge_overlaps(events):
        a, b = onset / seconds_per_step, offset / seconds_per_step
        overlap = np.minimum(b, starts + 1) - np.maximum(a, starts)
        covered[:, c] += np.maximum(overlap, 0)
    enough = covered >= 0.5 - ROUNDING if rule == "half" else covered > ROUNDING
    return enough.astype(np.uint8)


def frame_labels(store: TokenStore, rule: str) -> UInt8[np.ndarray, "n T C"]:
    """The labels of the time steps of all clips of a token store.

    Args:
        store: The token store; its encoder sets the time steps.
        rule: The rule of `rasterise`.

    Raises:
        InputError: A clip has a class without a known onset and offset.
    """
    steps, _, _ = store.grid
    seconds = store.manifest["geometry"]["seconds_per_step"]
    check_events(store)
    labels = [
        rasterise(events, steps, seconds, len(store.classes), rule)
        for events in store.events
    ]
    return np.stack(labels)


def check_events(store: TokenStore) -> None:
    """Checks that every class of every clip has at least one onset and offset.

    Raises:
        InputError: A clip has a class without them; the message names the first.
    """
    for clip, labels, events in zip(store.ids, store.labels, store.events, strict=True):
        for c in set(np.flatnonzero(labels).tolist()) - {c for c, *_ in events}:
            raise InputError(
                f"clip {clip!r} of {store.key['dataset']} has the class "
                f"{store.classes[c]!r} but no onset and offset of it: "
                "config.labels=frames needs them for every clip"
            )


def active_events(
    active: Bool[np.ndarray, "T C"], seconds_per_step: float
) -> list[Event]:
    """The runs of time steps in which a class is active, by class and onset."""
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    events: list[Event] = []
    for c, column in enumerate(edges.T):
        onsets, offsets = np.flatnonzero(column == 1), np.flatnonzero(column == -1)
        events += [
            (c, float(a) * seconds_per_step, float(b) * seconds_per_step)
            for a, b in zip(onsets, offsets, strict=True)
        ]
    return events


def median_filter(
    scores: Float[np.ndarray, "n T C"],
    mask: Bool[np.ndarray, "n T"],
    seconds: float,
    seconds_per_step: float,
) -> Float[np.ndarray, "n T C"]:
    """The median of the scores around each real time step of each clip.

    Beyond its first and last real step a clip is continued by that step's score.

    Args:
        scores: The scores of the time steps of all clips.
        mask: True for real time steps. Masked steps enter no median and are returned
            unchanged.
        seconds: The width of the filter. It is rounded to an odd number of steps; if
            that is 1, nothing is filtered.
        seconds_per_step: The length of one time step.
    """
    import scipy.ndimage  # Takes a while, and only scores of time steps need it.

    reach = round((seconds / seconds_per_step - 1) / 2)
    if reach < 1:
        return scores
    filtered = scores.copy()
    # Clips with the same mask are filtered together.
    masks, of_clip = np.unique(mask, axis=0, return_inverse=True)
    for i, real in enumerate(masks):
        chosen = np.ix_(of_clip.reshape(-1) == i, real)
        filtered[chosen] = scipy.ndimage.median_filter(
            scores[chosen], (1, 2 * reach + 1, 1), mode="nearest"
        )
    return filtered


def merge_overlaps(events: Iterable[Event]) -> Iterator[Event]:
    """The events by class and onset; overlapping events of a class become one."""
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
