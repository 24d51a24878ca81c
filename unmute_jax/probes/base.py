"""What all probes share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import InputError
from unmute_jax.tokens import Summary, Tokens, summarise


class Probe(nn.Module):
    """A small network from the tokens of a frozen encoder to logits.

    Attributes:
        reads: What `__call__` takes: the whole `Tokens`, or their `Summary` alone, so
            that a pass over the tokens can be saved.
        num_classes: Number of logits.
    """

    reads: ClassVar[Literal["tokens", "summary"]]

    num_classes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_classes")

    def check_positive(self, *fields: str) -> None:
        """Raises InputError where an integer option is not at least 1."""
        for field in fields:
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(
                    f"{type(self).__name__}: {field} must be a whole number of at "
                    f"least 1, not {value!r}"
                )

    def classify(self, features: Float[Array, "B X"]) -> Float[Array, "B C"]:
        """The last affine map; call it inside a compact `__call__`.

        Weights and biases start as U(+-1/sqrt(fan_in)), PyTorch's default. The product
        is small: full precision costs nothing, on any device.
        """
        bound = features.shape[-1] ** -0.5

        def initialise(key: Array, shape: Any, dtype: Any) -> Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        dense = nn.Dense(
            self.num_classes,
            kernel_init=initialise,
            bias_init=initialise,
            precision=jax.lax.Precision.HIGHEST,
            name="classifier",
        )
        return dense(features)


def as_summary(x: Tokens | Summary) -> Summary:
    """`x`, summarised if it is not yet."""
    return summarise(x) if isinstance(x, Tokens) else x


def as_tokens(x: Tokens | Summary) -> Tokens:
    """`x` with inverse norms; a summary cannot be turned back into tokens."""
    if isinstance(x, Summary):
        raise InputError("this probe reads tokens; a summary of them is not enough")
    return x.with_inverse_norms()
