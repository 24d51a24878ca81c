"""The base class of all probes, and the helpers that they share.

To add a probe, write a subclass of `Probe`, a Flax linen module:

* Set `input_kind` to what its `__call__` reads: "tokens", "layers" or "summary".
* Declare its options as attributes with defaults. A config sets them as
  `probe_options.NAME`, so a new name also needs a field in `config.ProbeOptions`, whose
  range is checked here as well. Check choices, and what depends on several options, in
  `__post_init__`.
* Write `__call__`, compact, from tokens to logits `[B, C]`. It must ignore masked time
  steps and end in float32; `self.classify` is the usual last layer.
* If it reads the class token, let `needs_cls` say so. If its loss has a further term,
  return that from `penalty`; if readers of its scores must know something of an
  option, say so in `remark`. Time steps need nothing: `frames` works for all.
* Enter the class under a name in `probes/__init__.py`. `tests/probes/test_conformance`
  then tests everything that a probe must do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_type_hints

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax import bounds
from unmute_jax.config import ProbeOptions
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.tokens import Summary, Tokens, summarise

# Added to variances in LayerNorm and BatchNorm, as in the closest public code (3).
VARIANCE_EPS = 1e-6

# What is known of those readings of the paper that stand in other people's code.
SECOND_HAND = (
    "follows another group's code for a probe of this name, as it was described to us "
    "(second-hand); it was compared neither with that code nor with the paper's"
)

Initialiser = Callable[..., Array]
Statistic = Literal["cls", "mean"]
InputKind = Literal["tokens", "layers", "summary", "layer_summary"]


# The ranges of the options that are numbers or True or False.
_RANGES = {
    name: bounds.required(hint)
    for name, hint in get_type_hints(ProbeOptions, include_extras=True).items()
    if bounds.plain_type(hint) in (int, float, bool)
}


class Reading(NamedTuple):
    """What a probe reads of the clips.

    Attributes:
        kind: "tokens", the `Tokens` of one layer; "layers", `Tokens` with those of all
            layers; "summary", a `Summary`; or "layer_summary", a `Summary` of all
            layers.
        layer: For "tokens", the layer; None for the last one.
    """

    kind: InputKind
    layer: int | None = None

    @property
    def needs_layers(self) -> bool:
        """Whether the encoder must return the tokens of all layers."""
        return self.layer is not None or self.kind in ("layers", "layer_summary")


class Probe(nn.Module):
    """A small network from the tokens of a frozen encoder to logits.

    Attributes:
        input_kind: What `__call__` reads: "tokens", the `Tokens` of the last layer;
            "layers", `Tokens` with those of all layers; or "summary", for which a
            `Summary` is enough, so that the tokens need not be read. `reads` also
            heeds the option `layers` of the probes that have it.
        is_fitted: Whether `fit` computes the variables in one step. Other probes are
            trained.
        num_classes: The number of logits.
        training: Whether `__call__` behaves as in training, which makes a difference
            for a few options: `probe.clone(training=True).apply(...)`.
    """

    input_kind: ClassVar[InputKind]
    is_fitted: ClassVar[bool] = False

    num_classes: int
    training: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_classes")
        self.check_ranges()

    def check_ranges(self) -> None:
        """Raises InputError if a number is out of the range that configs state for it.

        Names are checked by `check_choice`, as probes do not share their choices.
        """
        for field in dataclasses.fields(self):
            value, hint = getattr(self, field.name), _RANGES.get(field.name)
            may_be_none = field.default is None and value is None
            if hint is not None and not may_be_none:
                bounds.check(value, hint, f"{type(self).__name__}: {field.name}")

    def check_positive(self, *fields: str) -> None:
        """Raises InputError if an option is not a whole number of at least 1."""
        for field in fields:
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(
                    f"{type(self).__name__}: {field} must be a whole number of at "
                    f"least 1, not {value!r}"
                )

    def check_choice(self, field: str, choices: Any) -> None:
        """Raises InputError if an option is not one of the Literal `choices`."""
        value = getattr(self, field)
        if value not in get_args(choices):
            raise unknown_name(
                f"{field} of {type(self).__name__}", value, get_args(choices)
            )

    def check_divides(self, field: str, features: int, what: str) -> None:
        """Raises InputError if an option does not divide the number of features."""
        value = getattr(self, field)
        if features % value:
            fits = max(n for n in range(1, value) if features % n == 0)
            raise InputError(
                f"{type(self).__name__}: {field}={value} does not divide the "
                f"{features} {what}; {fits} does"
            )

    def reads(self, *, of_steps: bool = False) -> Reading:
        """What the probe reads as its options are set.

        Args:
            of_steps: Whether time steps are labelled, of which a summary has none.
        """
        kind = self.input_kind
        return Reading("tokens" if of_steps and kind == "summary" else kind)

    def fitted_to(self, layers: int, encoder: str) -> Probe:
        """The same probe, with a layer that is counted from the first.

        Args:
            layers: The number of layers that the encoder returns, or 0.
            encoder: Its name, for messages.

        Raises:
            InputError: The probe reads layers that the encoder does not return.
        """
        if self.reads().needs_layers and not layers:
            raise InputError(
                f"it reads other layers than the last, and {encoder} returns the "
                "tokens of its last layer only"
            )
        return self

    def layer_weights(self, params: Any) -> Float[Array, " L"] | None:
        """The learned weights of the layers, which sum to 1; None if there are none.

        Args:
            params: The parameters, as in `variables["params"]`.
        """
        gates = params.get("gates")
        return None if gates is None else jax.nn.softmax(jnp.asarray(gates))

    def fit(self, x: Tokens | Summary, labels: Float[Any, "B C"]) -> Any:
        """The variables of a fitted probe, computed from all training clips.

        Raises:
            InputError: The probe is trained, not fitted.
        """
        del x, labels
        raise InputError(f"{type(self).__name__} is trained, not fitted")

    @property
    def needs_cls(self) -> bool:
        """Whether the logits depend on the class token."""
        return False

    def frames(self, x: Tokens) -> Float[Array, "B T C"]:
        """The logits of every time step, each treated as a clip of its own.

        The parameters are those of the clip-wise probe. A probe that was trained on
        clips can therefore tell when a class was active, and one that was trained on
        time steps equals the frame-wise probe of the public code closest to the paper
        (section 3; for `protobin` the maximum is over frequency alone):

            logits = probe.apply(variables, tokens, method="frames")

        The logits of masked time steps are finite but have no meaning.

        Raises:
            InputError: The probe reads the class token, which belongs to no time step.
        """
        if self.needs_cls:
            raise InputError(
                f"{type(self).__name__} reads the class token as it is set, which is "
                "one per clip: frame-wise logits need the option that reads the mean"
            )
        b, t, *_ = x.patches.shape
        return self(steps_as_clips(x)).reshape(b, t, self.num_classes)

    @property
    def remark(self) -> str:
        """What a reader of the probe's scores must know of its options; often ""."""
        return ""

    def penalty(self, params: Any) -> Float[Array, ""]:
        """The term that the probe adds to the loss of a batch, 0 by default.

        Args:
            params: The parameters, as in `variables["params"]`.
        """
        del params
        return jnp.zeros(())

    def classify(self, features: Float[Array, "*S X"]) -> Float[Array, "*S C"]:
        """The last affine map, to be called inside a compact `__call__`.

        The product is small, so full precision costs nothing on any device.
        """
        return self.dense("classifier", features, self.num_classes)

    def dense(
        self, name: str, x: Float[Array, "*S X"], features: int
    ) -> Float[Array, "*S Y"]:
        """An affine map with PyTorch's initial weights and biases."""
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
        """The parameter of a linear map `x @ matrix`, with PyTorch's initial values."""
        return self.param(name, uniform_init(rows), (rows, columns))

    def layer_norm(self, x: Float[Array, "*S X"]) -> Float[Array, "*S X"]:
        """LayerNorm over the last axis, with scale and bias."""
        # The fast variance is a difference of large numbers.
        norm = nn.LayerNorm(VARIANCE_EPS, use_fast_variance=False, name="norm")
        return norm(x)


class VectorProbe(Probe):
    """A probe of one vector per clip, or per layer.

    Attributes:
        input: The vector: "cls", the class token (the mean of the tokens if the encoder
            has none), or "mean", the mean of the tokens for every encoder.
    """

    input: Statistic = "cls"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Statistic)

    @property
    def needs_cls(self) -> bool:
        """Whether the vector is the class token."""
        return self.input == "cls"


def uniform_init(fan_in: int) -> Initialiser:
    """U(+-1/sqrt(fan_in)), PyTorch's default for weights and biases."""
    bound = fan_in**-0.5

    def initialise(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialise


def einsum(subscripts: str, *operands: Array) -> Array:
    """`jnp.einsum` in full float32 precision on any device."""
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


def masked_softmax(
    scores: Float[Array, "*S"], mask: Bool[Array, "*#S"], axis: int
) -> Float[Array, "*S"]:
    """Softmax over the entries of an axis where `mask` is true; the others get 0.

    Where the mask is false everywhere, the weights are equal, so that they and their
    gradients are finite.
    """
    least: Any = jnp.finfo(scores.dtype).min
    return jax.nn.softmax(jnp.where(mask, scores, least), axis=axis)


def as_summary(x: Tokens | Summary) -> Summary:
    """The summary of tokens of the last layer; a summary is returned as it is.

    Raises:
        InputError: `x` belongs to another layer, or to all.
    """
    if isinstance(x, Tokens):
        return summarise(_of_last_layer(x))
    if x.is_of_layers:
        raise InputError("this probe reads the last layer; this summary is of all")
    return x


def as_tokens(x: Tokens | Summary) -> Tokens:
    """The tokens of the last layer with inverse norms.

    Raises:
        InputError: `x` is a summary, or belongs to another layer.
    """
    return _of_last_layer(not_summary(x)).with_inverse_norms()


def not_summary(x: Tokens | Summary) -> Tokens:
    """The tokens.

    Raises:
        InputError: `x` is a summary, which cannot be turned back into tokens.
    """
    if isinstance(x, Summary):
        raise InputError("this probe reads tokens; a summary of them is not enough")
    return x


def _of_last_layer(x: Tokens) -> Tokens:
    if x.layer is not None:
        raise InputError(
            f"this probe reads the last layer, and these are tokens of layer {x.layer}"
        )
    return x


def steps_as_clips(tokens: Tokens) -> Tokens:
    """`B * T` clips of one time step each, with the class tokens of their clips.

    A masked time step becomes a clip without any real time step.
    """
    b, t, f, d = tokens.patches.shape

    def repeat(x: Any) -> Any:
        return None if x is None else jnp.repeat(jnp.asarray(x), t, axis=0)

    norms, layers = tokens.inverse_norms, tokens.layers
    if layers is not None:
        l = layers.shape[1]
        layers = jnp.moveaxis(jnp.asarray(layers), 2, 1).reshape(b * t, l, 1, f, d)
    return Tokens(
        patches=jnp.asarray(tokens.patches).reshape(b * t, 1, f, d),
        cls=repeat(tokens.cls),
        mask=jnp.asarray(tokens.mask).reshape(b * t, 1),
        inverse_norms=None if norms is None else norms.reshape(b * t, 1, f),
        layers=layers,
        layer_cls=repeat(tokens.layer_cls),
        layer=tokens.layer,
    )


def flat_mask(tokens: Tokens) -> Bool[Array, "B N"]:
    """True for real positions, `N = T * F`; frequency varies fastest."""
    return jnp.repeat(jnp.asarray(tokens.mask), tokens.patches.shape[2], axis=1)


def flatten_tokens(
    tokens: Tokens,
) -> tuple[Float[Array, "B N D"], Bool[Array, "B N"]]:
    """The tokens as a float32 sequence, zero at masked positions, and their mask.

    Masked positions are set to zero because `0 * inf`, their weight times their value,
    would be NaN.
    """
    b, t, f, d = tokens.patches.shape
    mask = flat_mask(tokens)
    patches = jnp.asarray(tokens.patches).reshape(b, t * f, d).astype(jnp.float32)
    return jnp.where(mask[:, :, None], patches, 0.0), mask


def masked_mean(
    tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
) -> Float[Array, "B D"]:
    """The mean over the real positions of what `flatten_tokens` returns."""
    count = jnp.maximum(mask.sum(1, keepdims=True), 1).astype(jnp.float32)
    return tokens.sum(1) / count
