"""Training losses: functions of a batch of logits that return one value per clip.

The plain losses are optax's. The asymmetric loss is our own: optax does not have it,
and its gradient must stay finite for the smallest probabilities.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from unmute_jax import config
from unmute_jax.errors import unknown_name

Loss = Callable[[Float[Array, "B C"], Float[Array, "B C"]], Float[Array, "B"]]

# Smallest argument of the logarithms in the asymmetric loss; paper section 4.
LOG_EPS = 1e-8
# Smallest base of the focusing power.
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

    Easy negatives therefore count little, and those with `p <= clip` not at all. The
    paper does not state its constants; the defaults are those of its first author's
    earlier code.

    The clip has a drawback: the gradient of a negative also vanishes as `p` approaches
    1. If the first steps are so large that a class is predicted everywhere, it stays
    predicted, while the loss stays finite. Warm-up, lower learning rates or `bce`
    prevent this.

    Args:
        logits: Scores before the sigmoid.
        targets: Labels in [0, 1].
        gamma_negative: Focusing exponent of the negatives.
        gamma_positive: Focusing exponent of the positives.
        clip: Shift of the negatives' probability.
        differentiate_weights: Whether the gradient includes the derivative of the
            focusing factor, as in the public code closest to the paper. With False the
            factor is treated as a constant, as in Ridnik's code.
    """
    p = jax.nn.sigmoid(logits)
    # 1 - p and 1 - q from their own formulas: subtracting from 1 loses small values.
    not_p = jax.nn.sigmoid(-logits)
    q = jnp.minimum(not_p + clip, 1.0)
    not_q = jnp.maximum(p - clip, 0.0)
    entropy = targets * jnp.log(jnp.maximum(p, LOG_EPS))
    entropy += (1 - targets) * jnp.log(jnp.maximum(q, LOG_EPS))
    gamma = gamma_positive * targets + gamma_negative * (1 - targets)
    # The base is kept above zero, where a gamma below 1 would make the gradient
    # 0 * inf.
    missing = jnp.maximum(targets * not_p + (1 - targets) * not_q, WEIGHT_EPS)
    weights = missing**gamma
    if not differentiate_weights:
        weights = jax.lax.stop_gradient(weights)
    return -(entropy * weights).mean(-1)


def bce(logits: Float[Array, "B C"], targets: Float[Array, "B C"]) -> Float[Array, "B"]:
    """Binary cross-entropy, mean over classes."""
    return optax.losses.sigmoid_binary_cross_entropy(logits, targets).mean(-1)


def cross_entropy(
    logits: Float[Array, "B C"], targets: Float[Array, "B C"]
) -> Float[Array, "B"]:
    """Cross-entropy of the softmax, for one-hot or soft targets."""
    return optax.losses.softmax_cross_entropy(logits, targets)


_LOSSES: dict[str, Callable[..., Any]] = {
    "asymmetric": asymmetric,
    "bce": bce,
    "cross_entropy": cross_entropy,
}


def make_loss(name: str, **options: Any) -> Loss:
    """Returns the loss called `name`, a function `loss(logits, targets) -> [B]`.

    The loss of a batch is the sum over its clips divided by their number, so it does
    not depend on the number of devices or of padded rows.

    Args:
        name: "asymmetric", "bce" or "cross_entropy".
        **options: Keyword arguments of the function of that name.

    Raises:
        InputError: The loss or an option is unknown, or a value is out of its range.
    """
    if name not in _LOSSES:
        raise unknown_name("loss", name, _LOSSES)
    loss = _LOSSES[name]
    parameters = inspect.signature(loss).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of loss {name!r}", option, known)
    config.check_options(config.Loss, options, f"loss {name!r}: ")
    return functools.partial(loss, **options)
