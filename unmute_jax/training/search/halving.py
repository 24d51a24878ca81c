"""Successive halving: trials are compared at rungs, and the worse ones are stopped."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float


def rung_epochs(epochs: int, halvings: int, reduction: int) -> tuple[int, ...]:
    """The epochs after which trials are compared; the last one ends them.

    Args:
        epochs: Epochs of a trial that is never stopped.
        halvings: The number of times that trials may be stopped before.
        reduction: One in so many trials is promoted, for as many times the epochs.
    """
    rungs = [round(epochs / reduction**k) for k in range(halvings, 0, -1)]
    return (*dict.fromkeys(e for e in rungs if 0 < e < epochs), epochs)


def share_of_epochs(epochs: int, halvings: int, reduction: int) -> float:
    """The share of its epochs that a trial is trained for on average.

    All trials reach the first rung, one in `reduction` of them the next, and so on.
    The arguments are those of `rung_epochs`.
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

    A trial is promoted if it is among the best `1 / reduction` of all trials that ever
    reached the rung. On ties, the earlier trial wins, so that ties do not keep more
    trials alive. Of a late round it may be none. A trial that diverged (NaN) is never
    promoted.

    Args:
        scores: Validation scores of this round at the rung.
        earlier: Validation scores of all earlier rounds at the same rung.
        reduction: One in so many trials is promoted.
    """
    everyone = np.concatenate([earlier, scores])
    is_finite = np.isfinite(everyone)
    places = max(1, is_finite.sum() // reduction)
    best = np.argsort(np.where(is_finite, -everyone, np.inf), kind="stable")[:places]
    keep = np.zeros(len(everyone), bool)
    keep[best] = True
    return (keep & is_finite)[len(earlier) :]
