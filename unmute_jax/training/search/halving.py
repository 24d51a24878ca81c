"""Which learning rate and weight decay to try next, and which trials go on."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float


def rung_epochs(epochs: int, halvings: int, reduction: int) -> tuple[int, ...]:
    """The epochs after which trials are compared; the last ends them.

    Args:
        epochs: Of a trial that is never stopped.
        halvings: How often trials are stopped before.
        reduction: One in so many goes on, for as many times the epochs.
    """
    found = [round(epochs / reduction**k) for k in range(halvings, 0, -1)]
    return (*dict.fromkeys(e for e in found if 0 < e < epochs), epochs)


def share_of_epochs(epochs: int, halvings: int, reduction: int) -> float:
    """How much of their epochs trials are trained for on average; 1 without halvings.

    All come to the first rung, one in `reduction` of them to the next, and so on.
    Arguments as of `rungs`.
    """
    parts = itertools.pairwise((0, *rung_epochs(epochs, halvings, reduction)))
    trained = ((end - start) * reduction**-i for i, (start, end) in enumerate(parts))
    return sum(trained) / epochs


def promoted(
    scores: Float[np.ndarray, "K"],
    earlier: Float[np.ndarray, "N"],
    reduction: int,
) -> Bool[np.ndarray, "K"]:
    """Which trials of a round train beyond a rung.

    Those that are among the best `1 / reduction` of all that ever reached the rung; of
    equals the earlier ones, so that work is freed where many are equal. It may be none
    of a late round. One that diverged (NaN) never is.

    Args:
        scores: On the validation split, of this round.
        earlier: Of the rounds before, at the same rung.
        reduction: As of `rungs`.
    """
    everyone = np.concatenate([earlier, scores])
    sound = np.isfinite(everyone)
    places = max(1, sound.sum() // reduction)
    best = np.argsort(np.where(sound, -everyone, np.inf), kind="stable")[:places]
    keep = np.zeros(len(everyone), bool)
    keep[best] = True
    return (keep & sound)[len(earlier) :]
