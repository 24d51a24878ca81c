"""A probe whose prototypes belong to classes, as in AudioProtoPNet and Bird-MAE.

Another group's code for the paper calls a probe `proto` whose prototypes belong to no
class; it is a reading of the same probe here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import InputError
from unmute_jax.ops import max_product, top_products
from unmute_jax.probes.base import (
    SECOND_HAND,
    Initialiser,
    Probe,
    as_tokens,
    einsum,
)
from unmute_jax.probes.prototypes import (
    ClassifierKind,
    as_sequence,
    mean_of_top,
    subtract_cls,
    sum_by_class,
)
from unmute_jax.tokens import Summary, Tokens, inverse_norms

# The value of the two channels that the reference adds, and the guard of its norms.
EPS = 1e-4
# What the two channels and the guard add to a sum of squares.
EXTRA = 2 * EPS**2 + EPS
# The constant by which the reference divides its similarities.
SHRINK = 1.01


Reading = Literal["per_class", "shared"]
# The options that each reading of the paper sets.
READINGS: dict[str, dict[str, Any]] = {
    "per_class": {
        "classifier": "block",
        "non_negative": True,
        "penalty_weight": 1.0,
        "initialisation": "uniform",
    },
    "shared": {
        "classifier": "dense",
        "non_negative": False,
        "penalty_weight": 0.0,
        "initialisation": "normal",
    },
}

Initialisation = Literal["uniform", "normal"]
# Initial prototypes, weights and bias.
INITIAL: dict[str, tuple[Initialiser, Initialiser, float]] = {
    "uniform": (nn.initializers.uniform(1.0), nn.initializers.ones, -2.0),
    "normal": (
        nn.initializers.normal(0.02),
        nn.initializers.truncated_normal(0.02),
        0.0,
    ),
}


class Proto(Probe):
    """Float prototypes that belong to classes, or to none; section 3.7.

    `y_c = sum_j relu(w_cj) s_cj + b_c`, where `s_cj` is the largest cosine of prototype
    `cj`, with negative values set to 0, in a guarded form:

        s = relu(z . p) / (sqrt(|z|^2 + 2e^2 + e) (sqrt(|p|^2 + 2e^2 + e) + e) 1.01)

    with `e = 1e-4`. The reference also adds `2e^2` to `z . p`. The difference is at
    most `2e-6 / |p|`, and that only for tokens that are almost zero.

    Whether the paper used the focal similarity and the upsampling of its first code is
    not known; they are off by default.

    Attributes:
        reading: The reading of the paper, which sets those of `classifier`,
            `non_negative`, `penalty_weight` and `initialisation` that are None.
            "per_class": "block", True, 1 and "uniform", as in the code of Bird-MAE (the
            default; it has the paper's number of parameters). "shared": "dense", False,
            0 and "normal": no prototype belongs to a class, every class reads all of
            them with either sign, and no other values of these four are allowed. The
            similarity is the same. It is second-hand: another group's code for the
            paper's probes has it, as it was described to us, and we have not seen that
            code.
        prototypes_per_class: The number of prototypes per class J; the total number is
            `C * J` for both readings.
        top_k: In training, the mean of this many largest similarities replaces the
            maximum.
        focal: Whether the class token is subtracted from the tokens.
        upsample: Whether the token map is first made twice as large in both directions,
            by bilinear interpolation.
        classifier: "block": a class reads its own J prototypes; "dense": all of them.
        non_negative: Whether negative weights of the classifier count as 0.
        penalty_weight: The weight in the loss of the penalty on prototypes of a class
            that are not orthogonal.
        initialisation: "uniform", as in the reference: prototypes from U(0, 1), weights
            of 1 and biases of -2. All J similarities of a class then add up to a large
            logit, at which the asymmetric loss may have no gradient. "normal":
            prototypes from N(0, 0.02^2), weights from the same distribution, cut at two
            standard deviations, and biases of 0.
    """

    input_kind: ClassVar = "tokens"

    reading: Reading = "per_class"
    prototypes_per_class: int = 20
    top_k: int = 1
    focal: bool = False
    upsample: bool = False
    classifier: ClassifierKind | None = None
    non_negative: bool | None = None
    penalty_weight: float | None = None
    initialisation: Initialisation | None = None

    def __post_init__(self) -> None:
        self.check_choice("reading", Reading)
        for option, of_reading in READINGS[self.reading].items():
            # Flax does not allow this after its own `__post_init__`.
            if getattr(self, option) is None:
                setattr(self, option, of_reading)
        super().__post_init__()
        self.check_choice("classifier", ClassifierKind)
        self.check_choice("initialisation", Initialisation)
        if self.reading == "shared":
            self.check_shared()

    def check_shared(self) -> None:
        """Raises InputError if an option contradicts the reading "shared"."""
        for option, of_reading in READINGS["shared"].items():
            if (value := getattr(self, option)) != of_reading:
                raise InputError(
                    f"Proto: reading='shared' has {option}={of_reading!r}, not "
                    f"{value!r}; leave {option} out, or choose reading='per_class'"
                )

    @property
    def remark(self) -> str:
        """Says that the second reading is second-hand."""
        if self.reading == "per_class":
            return ""
        return f"reading={self.reading} {SECOND_HAND}"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens = as_tokens(x)
        if self.focal:
            tokens = subtract_cls(tokens)
        if self.upsample:
            tokens = upsampled(tokens)
        c, j = self.num_classes, self.prototypes_per_class
        shape = (c * j, tokens.cls.shape[-1])
        of_prototypes, of_kernel, bias = INITIAL[str(self.initialisation)]
        vectors = self.param("prototypes", of_prototypes, shape)
        block = self.classifier == "block"
        size = (c, j) if block else (c * j, c)
        kernel = self.param("kernel", of_kernel, size)
        bias = self.param("bias", nn.initializers.constant(bias), (c,))
        if self.non_negative:
            kernel = jax.nn.relu(kernel)
        scores = activations(tokens, vectors, self.top_k if self.training else 1)
        mixed = (
            sum_by_class(scores, kernel)
            if block
            else einsum("bp,pc->bc", scores, kernel)
        )
        return mixed + bias[None]

    def penalty(self, params: Any) -> Float[Array, ""]:
        """The weighted deviation of each class's prototypes from orthogonality.

        It is `||stack_c(P_c P_c^T - I)||_F / (C J^2)` with rows `P_cj = p_cj / |p_cj|`,
        times `penalty_weight`.
        """
        if not self.penalty_weight:
            return super().penalty(params)
        p = params["prototypes"]
        unit = p / guarded_norms(p, EPS)[:, None]
        unit = unit.reshape(self.num_classes, self.prototypes_per_class, -1)
        off = einsum("cjd,ckd->cjk", unit, unit) - jnp.eye(unit.shape[1])[None]
        return self.penalty_weight * jnp.sqrt(jnp.square(off).sum()) / off.size


def activations(
    tokens: Tokens, prototypes: Float[Array, "P D"], top_k: int
) -> Float[Array, "B P"]:
    """The similarities `s` of each clip, or the mean of the `top_k` largest."""
    patches, inverse, mask = as_sequence(tokens)
    scale = inverse / jnp.sqrt(1.0 + EXTRA * jnp.square(inverse))
    if top_k > 1:
        best = top_products(patches, scale, mask, prototypes, k=top_k)
        scores = mean_of_top(jax.nn.relu(best), mask)
    else:
        scores = jax.nn.relu(max_product(patches, scale, mask, prototypes))
    return scores / (SHRINK * guarded_norms(prototypes, EXTRA))[None]


def guarded_norms(prototypes: Float[Array, "P D"], extra: float) -> Float[Array, "P"]:
    """`sqrt(|p|^2 + extra) + 1e-4`."""
    return jnp.sqrt(jnp.square(prototypes).sum(-1) + extra) + EPS


def upsampled(tokens: Tokens) -> Tokens:
    """The token map twice as large in both directions, by bilinear interpolation.

    Beyond an edge the map is continued by its outermost values. The last real time step
    of a clip is such an edge as well.
    """
    b, t, f, d = tokens.patches.shape
    mask = jnp.asarray(tokens.mask)
    # Masked steps take the value of the nearest real one.
    steps = jnp.arange(t)
    distance = jnp.abs(steps[:, None] - steps[None])
    nearest = jnp.where(mask[:, None], distance[None], 2 * t).argmin(-1)
    patches = jnp.asarray(tokens.patches).astype(jnp.float32)
    patches = jnp.take_along_axis(patches, nearest[:, :, None, None], axis=1)
    patches = jax.image.resize(patches, (b, 2 * t, 2 * f, d), "linear")
    return dataclasses.replace(
        tokens,
        patches=patches,
        mask=jnp.repeat(mask, 2, axis=1),
        inverse_norms=inverse_norms(patches),
    )
