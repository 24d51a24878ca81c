"""What all probes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.tokens import Summary, Tokens, summarise

# Guard of LayerNorm and BatchNorm in all the codes nearest to the paper; section 3.
VARIANCE_EPS = 1e-6

Initialiser = Callable[..., Array]


class Probe(nn.Module):
    """A small network from the tokens of a frozen encoder to logits.

    Attributes:
        is_fitted: Whether `fit(inputs, labels)` gives the variables at once, and there
            is nothing to train.
        input_kind: What `__call__` takes: the whole `Tokens`; `Tokens` with all their
            `layers`; or their `Summary` alone, so that a pass over the tokens can be
            saved.
        num_classes: Number of logits.
        training: Whether `__call__` is that of training, for the few options that make
            a difference then: `probe.clone(training=True).apply(...)`.
    """

    input_kind: ClassVar[Literal["tokens", "layers", "summary"]]
    is_fitted: ClassVar[bool] = False

    num_classes: int
    training: bool = False

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

    def check_choice(self, field: str, choices: Any) -> None:
        """Raises InputError where an option is not one of the Literal `choices`."""
        value = getattr(self, field)
        if value not in get_args(choices):
            raise unknown_name(
                f"{field} of {type(self).__name__}", value, get_args(choices)
            )

    def check_weight(self, field: str) -> None:
        """Raises InputError where an option is not a number of at least 0."""
        value = getattr(self, field)
        if isinstance(value, bool) or not value >= 0:
            raise InputError(
                f"{type(self).__name__}: {field} must be at least 0, not {value!r}"
            )

    def check_divides(self, field: str, features: int, what: str) -> None:
        """Raises InputError where `features` cannot be cut into that many parts."""
        value = getattr(self, field)
        if features % value:
            fits = max(n for n in range(1, value) if features % n == 0)
            raise InputError(
                f"{type(self).__name__}: {field}={value} does not divide the "
                f"{features} {what}; {fits} does"
            )

    def fit(self, x: Tokens | Summary, labels: Float[Any, "B C"]) -> Any:
        """The variables of a probe that `is_fitted`, from all training clips.

        Raises:
            InputError: This probe is trained.
        """
        del x, labels
        raise InputError(f"{type(self).__name__} is trained, not fitted")

    @property
    def needs_cls(self) -> bool:
        """Whether the class token is among what becomes logits."""
        return False

    def frames(self, x: Tokens) -> Float[Array, "B T C"]:
        """Logits of every time step: each is taken for a clip of its own.

        The parameters are those of the clip-wise probe, so one that was trained on
        clips can be asked when a class was heard, and one that was trained on time
        steps is the frame-wise probe of the codes near to the paper (section 3; for
        `protobin` the maximum is over frequency alone):

            logits = probe.apply(variables, tokens, method="frames")

        Logits of masked steps are finite and mean nothing.

        Raises:
            InputError: The probe reads the class token, which has no time.
        """
        if self.needs_cls:
            raise InputError(
                f"{type(self).__name__} reads the class token as it is set, which is "
                "one per clip: frame-wise logits need the option that reads the mean"
            )
        b, t, *_ = x.patches.shape
        return self(as_steps(x)).reshape(b, t, self.num_classes)

    def penalty(self, params: Any) -> Float[Array, ""]:
        """What this probe adds to the loss of a batch: nothing, for most.

        Args:
            params: As in `variables["params"]`.
        """
        del params
        return jnp.zeros(())

    def classify(self, features: Float[Array, "*S X"]) -> Float[Array, "*S C"]:
        """The last affine map; call it inside a compact `__call__`.

        The product is small: full precision costs nothing, on any device.
        """
        return self.dense("classifier", features, self.num_classes)

    def dense(
        self, name: str, x: Float[Array, "*S X"], features: int
    ) -> Float[Array, "*S Y"]:
        """An affine map; weights and biases start as PyTorch's do."""
        initialise = uniform_init(x.shape[-1])
        layer = nn.Dense(
            features,
            kernel_init=initialise,
            bias_init=initialise,
            precision=jax.lax.Precision.HIGHEST,
            name=name,
        )
        return layer(x)

    def matrix(self, name: str, rows: int, columns: int) -> Float[Array, "X Y"]:
        """A linear map `x @ matrix` without bias; starts as PyTorch's do."""
        return self.param(name, uniform_init(rows), (rows, columns))

    def layer_norm(self, x: Float[Array, "*S X"]) -> Float[Array, "*S X"]:
        """LayerNorm over the last axis, with scale and bias."""
        # The fast variance is a difference of large numbers.
        norm = nn.LayerNorm(VARIANCE_EPS, use_fast_variance=False, name="norm")
        return norm(x)


def uniform_init(fan_in: int) -> Initialiser:
    """U(+-1/sqrt(fan_in)), PyTorch's default for weights and biases."""
    bound = fan_in**-0.5

    def initialise(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialise


def einsum(subscripts: str, *operands: Array) -> Array:
    """`jnp.einsum` in full float32 on any device."""
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


def as_summary(x: Tokens | Summary) -> Summary:
    """`x`, summarised if it is not yet."""
    return summarise(x) if isinstance(x, Tokens) else x


def as_tokens(x: Tokens | Summary) -> Tokens:
    """`x` with inverse norms; a summary cannot be turned back into tokens."""
    if isinstance(x, Summary):
        raise InputError("this probe reads tokens; a summary of them is not enough")
    return x.with_inverse_norms()


def as_steps(tokens: Tokens) -> Tokens:
    """Every time step as a clip of its own, `B * T` of them, with its class token.

    Time steps that are masked are clips without any real time step.
    """
    b, t, f, d = tokens.patches.shape

    def of_clip(x: Any) -> Any:
        return None if x is None else jnp.repeat(jnp.asarray(x), t, axis=0)

    norms, layers = tokens.inverse_norms, tokens.layers
    if layers is not None:
        l = layers.shape[1]
        layers = jnp.moveaxis(jnp.asarray(layers), 2, 1).reshape(b * t, l, 1, f, d)
    return Tokens(
        patches=jnp.asarray(tokens.patches).reshape(b * t, 1, f, d),
        cls=of_clip(tokens.cls),
        mask=jnp.asarray(tokens.mask).reshape(b * t, 1),
        inverse_norms=None if norms is None else norms.reshape(b * t, 1, f),
        layers=layers,
        layer_cls=of_clip(tokens.layer_cls),
    )


def flat_mask(tokens: Tokens) -> Bool[Array, "B N"]:
    """True for real positions, `N = T * F`, frequency fastest."""
    return jnp.repeat(jnp.asarray(tokens.mask), tokens.patches.shape[2], axis=1)


def real_positions(
    tokens: Tokens,
) -> tuple[Float[Array, "B N D"], Bool[Array, "B N"]]:
    """The tokens as a float32 sequence, zero where they are not real; and the mask.

    Zeros, because whatever stands there meets a weight of zero, and `0 * inf` is NaN.
    """
    b, t, f, d = tokens.patches.shape
    mask = flat_mask(tokens)
    patches = jnp.asarray(tokens.patches).reshape(b, t * f, d).astype(jnp.float32)
    return jnp.where(mask[:, :, None], patches, 0.0), mask


def mean_token(
    tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
) -> Float[Array, "B D"]:
    """The mean of the real positions of `real_positions`."""
    count = jnp.maximum(mask.sum(1, keepdims=True), 1).astype(jnp.float32)
    return tokens.sum(1) / count
