"""Lets data sets be counted without downloading or unpacking anything.

A plan (`--dry_run`) only needs the number of clips, which listings and tables tell.
What would fetch or unpack files asks `refuse_while_counting` first.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
from collections.abc import Generator
from typing import Any

from unmute_jax.errors import InputError

# Fingerprint of the splits of a data set that was only counted.
NOT_PREPARED = "not prepared"
# The most clips whose lengths are looked at, which are spread over all splits.
MOST_LOOKED_AT = 50

_is_counting = contextvars.ContextVar("_is_counting", default=False)


class NotHereError(InputError):
    """Files of a data set are not here yet, or not unpacked."""


@contextlib.contextmanager
def only_counting() -> Generator[None]:
    """Within the context, nothing is downloaded or unpacked for a data set."""
    token = _is_counting.set(True)
    try:
        yield
    finally:
        _is_counting.reset(token)


def refuse_while_counting(what: str) -> None:
    """Raises an error within `only_counting`, and does nothing otherwise.

    Args:
        what: What would be done, and when it will be, for the message.

    Raises:
        NotHereError: Only the clips are to be counted.
    """
    if _is_counting.get():
        raise NotHereError(what)


def metadata_of(builder: Any) -> dict[str, Any]:
    """Returns what is known of a data set before its clips are read.

    The clips are those of listings and tables, so those that will turn out to be
    unreadable count as well. If nothing else tells how long they are, some of them are
    looked at.

    Args:
        builder: The `ClipBuilder` of a data set that is not prepared.

    Returns:
        The fields of `metadata.json` of a prepared data set, and the ids.

    Raises:
        InputError: Files are missing, or one of the clips cannot be read.
    """
    entries = builder.entries()
    note = "not prepared yet: clips are counted, not read"
    longest, durations = builder.longest_known(), dict[str, dict[float, int]]()
    if longest is None:
        clips = [(split, entry) for split in entries for entry in entries[split]]
        some = clips[:: -(-len(clips) // MOST_LOOKED_AT)]
        found = [(s, builder.attempt(builder.seconds_of, entry)) for s, entry in some]
        known = [(split, seconds) for split, seconds in found if seconds is not None]
        if not known:
            raise InputError(
                f"{builder.dataset_name}: none of {len(some)} clips can be read, the "
                f"first because: {next(iter(builder.unreadable))}"
            )
        longest = max(seconds for _, seconds in known)
        if len(some) < len(clips):
            note += f"; lengths are those of {len(some)} clips"
        else:
            counts = collections.Counter((s, round(x, 3)) for s, x in known)
            for (split, seconds), count in counts.items():
                durations.setdefault(split, {})[seconds] = count
    return {
        "sample_rates": {},
        "clip_seconds": longest,
        "durations": durations,
        "notes": [note],
        "splits": {split: len(clips) for split, clips in entries.items()},
        "fingerprints": dict.fromkeys(entries, NOT_PREPARED),
        "listed_ids": {s: [*map(builder.id_of, clips)] for s, clips in entries.items()},
    }
