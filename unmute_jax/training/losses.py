"""Losses of a batch of logits, one value per clip."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.errors import InputError, unknown_name

Loss = Callable[[Float[Array, "B C"], Float[Array, "B C"]], Float[Array, "B"]]

# Guard of the logarithms in the asymmetric loss; paper section 4.
LOG_EPS = 1e-8
WEIGHT_EPS = 1e-30


def asymmetric(
    logits: Float[Array, "B C"],
    targets: Float[Array, "B C"],
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
    differentiate_weights: bool = True,
) -> Float[Array, "B"]:
    """The asymmetric multi-label loss (Ridnik et al. 2021), mean over classes.

    With `p = sigmoid(logit)` and `q = min(1 - p + clip, 1)`,

        l = -(y log p + (1 - y) log q) * (1 - y p - (1 - y) q)^gamma
        gamma = gamma_positive * y + gamma_negative * (1 - y)

    so that easy negatives count little, and those with `p <= clip` not at all. The
    paper does not state its constants; the defaults are those of its first author's
    earlier code.

    The clip has another side: the gradient of a negative also vanishes as `p` nears 1.
    A class that too large first steps have turned on everywhere stays on, and the loss
    stays finite. Warm-up, lower rates or `bce` prevent it.

    Args:
        logits: Before the sigmoid.
        targets: In [0, 1].
        gamma_negative: Focusing of the negatives.
        gamma_positive: Focusing of the positives.
        clip: Shift of the negatives' probability.
        differentiate_weights: Whether the gradient also runs through the focusing
            factor, as in the codes nearest to the paper; in Ridnik's it is a constant.
    """
    p = jax.nn.sigmoid(logits)
    # 1 - p and 1 - q from their own formulas: subtracting from 1 loses small values.
    not_p = jax.nn.sigmoid(-logits)
    q = jnp.minimum(not_p + clip, 1.0)
    not_q = jnp.maximum(p - clip, 0.0)
    entropy = targets * jnp.log(jnp.maximum(p, LOG_EPS))
    entropy += (1 - targets) * jnp.log(jnp.maximum(q, LOG_EPS))
    gamma = gamma_positive * targets + gamma_negative * (1 - targets)
    # 1 - t, kept off zero, where a gamma below 1 would turn the gradient into 0 * inf.
    missing = jnp.maximum(targets * not_p + (1 - targets) * not_q, WEIGHT_EPS)
    weights = missing**gamma
    if not differentiate_weights:
        weights = jax.lax.stop_gradient(weights)
    return -(entropy * weights).mean(-1)


def bce(logits: Float[Array, "B C"], targets: Float[Array, "B C"]) -> Float[Array, "B"]:
    """Binary cross-entropy, mean over classes."""
    losses = jax.nn.softplus(logits) - targets * logits
    return losses.mean(-1)


def cross_entropy(
    logits: Float[Array, "B C"], targets: Float[Array, "B C"]
) -> Float[Array, "B"]:
    """Cross-entropy of the softmax with one-hot or soft targets."""
    return -(targets * jax.nn.log_softmax(logits)).sum(-1)


_LOSSES: dict[str, Callable[..., Any]] = {
    "asymmetric": asymmetric,
    "bce": bce,
    "cross_entropy": cross_entropy,
}


def make_loss(name: str, **options: Any) -> Loss:
    """The loss called `name`: `loss(logits [B, C], targets [B, C]) -> [B]`.

    The sum over clips divided by their number is the loss of a batch, whatever the
    number of devices or padded rows.

    Args:
        name: "asymmetric", "bce" or "cross_entropy".
        **options: The keyword arguments of the function of that name.

    Raises:
        InputError: The loss or an option is unknown, or a number is negative.
    """
    if name not in _LOSSES:
        raise unknown_name("loss", name, _LOSSES)
    loss = _LOSSES[name]
    parameters = inspect.signature(loss).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of loss {name!r}", option, known)
        if not value >= 0:
            raise InputError(f"loss {name!r}: {option} must be >= 0, not {value!r}")
    return functools.partial(loss, **options)
