"""Attentive pooling: a weighted mean of the tokens, with learned weights.

Linear maps commute with weighted sums. A key projection is therefore applied to the
query, of which there is at most one per clip, and a value projection to the pooled
vector, so that keys and values of the tokens are never computed:
`softmax(q . W z) = softmax((W^T q) . z)` and `sum_n a_n (V z_n) = V (sum_n a_n z_n)`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax import bounds
from unmute_jax.bounds import Within
from unmute_jax.errors import InputError
from unmute_jax.probes.base import (
    SECOND_HAND,
    VARIANCE_EPS,
    Probe,
    as_tokens,
    einsum,
    flatten_tokens,
    masked_mean,
    masked_softmax,
)
from unmute_jax.probes.batch_statistics import BatchStatistics
from unmute_jax.probes.layer_choice import LayeredProbe, unit_size
from unmute_jax.tokens import Summary, Tokens

QuerySource = Literal["mean", "cls"]
SimPoolReading = Literal["projected", "unprojected"]
# Added in the code of SimPool so that no base of a power is zero.
POWER_EPS = 1e-6


class Mhca(LayeredProbe):
    """Multi-head cross-attention with learned queries; section 3.3.

    `a_h = softmax_n(q_h . k_nh / sqrt(D/H))` with keys and values `W_k z_n`, `W_v z_n`.
    The sums of the heads are concatenated, without an output projection, and the
    results of several queries are averaged. The option `layers` is that of
    `LayeredProbe`.

    Attributes:
        num_heads: The number of heads H, a divisor of D. The paper's number is not
            known; the number of parameters does not depend on it.
        num_queries: The number of queries.
        batch_norm: Whether the tokens first pass a BatchNorm without scale and bias, as
            in some public code. Its running statistics are the collection
            "batch_stats".
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12
    num_queries: int = 1
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        read = self.tokens_of(x, self.gates(x))
        tokens, mask = flatten_tokens(read)
        if self.layers == "all":
            tokens = unit_size(tokens)
        d = tokens.shape[-1]
        self.check_divides("num_heads", d, "features")
        heads = (self.num_heads, d // self.num_heads)
        init = nn.initializers.normal(0.02)
        queries = self.param("queries", init, (self.num_queries, d))
        key = self.matrix("key", d, d).reshape(d, *heads)
        value = self.matrix("value", d, d).reshape(d, *heads)
        folded = einsum("dhe,mhe->mhd", key, queries.reshape(-1, *heads))
        mean, inverse_sd = jnp.zeros(d), jnp.ones(d)
        if self.batch_norm:
            norm = BatchStatistics(self.training, name="batch_norm")
            mean, inverse_sd = norm(tokens, mask)
        # The normalisation (z - m) / s is linear, too. The term with m is the same for
        # all tokens of a query and cancels in the softmax.
        folded = folded * (inverse_sd * heads[1] ** -0.5)[None, None]
        weights = attention_weights(tokens, mask, folded.reshape(-1, d))
        weights = weights.reshape(*weights.shape[:2], self.num_queries, -1).mean(2)
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        pooled = (pooled - mean[None, None]) * inverse_sd[None, None]
        joined = einsum("bhd,dhe->bhe", pooled, value)
        return self.classify(joined.reshape(-1, d))


class Ep(Probe):
    """Efficient probing: queries attend to the raw tokens, without keys; section 3.4.

    `a_m = softmax_n(q_m . z_n / sqrt(D))`. The values `W_v z_n` have the width
    `D / reduction` and are split into M equal parts; query `m` pools the `m`-th part.

    Attributes:
        num_queries: The number of queries M. The paper's number is not known; 32 is the
            default of its first code.
        reduction: The factor by which the values are narrower than the tokens.
        batch_norm: Whether the pooled vector passes a BatchNorm without scale and bias.
            Its running statistics are the collection "batch_stats".
    """

    input_kind: ClassVar = "tokens"

    num_queries: int = 32
    reduction: int = 1
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens, mask = flatten_tokens(as_tokens(x))
        d = tokens.shape[-1]
        self.check_divides("reduction", d, "features")
        width = d // self.reduction
        self.check_divides("num_queries", width, "features of the values")
        init = nn.initializers.normal(0.02)
        queries = self.param("queries", init, (self.num_queries, d))
        value = self.matrix("value", d, width).reshape(d, self.num_queries, -1)
        weights = attention_weights(tokens, mask, queries * d**-0.5)
        pooled = einsum("bnm,bnd->bmd", weights, tokens)
        pooled = einsum("bmd,dme->bme", pooled, value).reshape(-1, width)
        if self.batch_norm:
            norm = BatchStatistics(self.training, name="batch_norm")
            mean, inverse_sd = norm(pooled[:, None], mask.any(1, keepdims=True))
            pooled = (pooled - mean[None]) * inverse_sd[None]
        return self.classify(pooled)


class SimPool(Probe):
    """SimPool: the mean of the tokens attends to normalised tokens; section 3.5.

    With `z'_n = LayerNorm(z_n)` and `g` the mean of the raw tokens,
    `a = softmax_n(W_q g . W_k z'_n / sqrt(D))`, and the result is `sum_n a_n z'_n`.

    Attributes:
        reading: The reading of the paper. "projected": the equation above, as in the
            code of SimPool (the default; it has the paper's number of parameters).
            "unprojected": `a = softmax_n(q . z'_n / sqrt(D))` with the query
            `q = mean of z'_n`, so that LayerNorm and classifier have the only
            parameters. It is second-hand: another group's code for the paper's probes
            has it, as it was described to us, and we have not seen that code.
        query: The source of `g`: the "mean" of the tokens, or the "cls" token.
        gamma: If above 1, the result is the generalised mean
            `(sum_n a_n (z'_n - m)^gamma)^(1/gamma)` of the later code, where `m` is the
            smallest entry of all `z'` of the batch, minus 1e-6. The logits of a clip
            then depend on the other clips of its batch.
    """

    input_kind: ClassVar = "tokens"

    reading: SimPoolReading = "projected"
    query: QuerySource = "mean"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("reading", SimPoolReading)
        self.check_choice("query", QuerySource)
        bounds.check(self.gamma, Annotated[float, Within(1, 100)], "SimPool: gamma")
        if self.reading == "unprojected" and (self.query, self.gamma) != ("mean", 1):
            raise InputError(
                "SimPool: reading='unprojected' has query='mean' and gamma=1, not "
                f"query={self.query!r} and gamma={self.gamma!r}; leave both out, or "
                "choose reading='projected'"
            )

    @property
    def remark(self) -> str:
        """Says that the second reading is second-hand."""
        if self.reading == "projected":
            return ""
        return f"reading={self.reading} {SECOND_HAND}"

    @property
    def needs_cls(self) -> bool:
        """Whether the query is the class token."""
        return self.query == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        x = as_tokens(x)
        tokens, mask = flatten_tokens(x)
        d = tokens.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (d,))
        bias = self.param("bias", nn.initializers.zeros, (d,))
        factor = inverse_std(tokens)
        if self.reading == "unprojected":
            equal = masked_softmax(jnp.zeros_like(factor), mask, axis=1)[:, :, None]
            folded = normalised_sum(tokens, factor, equal) * scale[None] + bias[None]
        else:
            query = masked_mean(tokens, mask)
            if self.query == "cls":
                query = jnp.asarray(x.cls).astype(jnp.float32)
            query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
            folded = einsum("de,be->bd", self.matrix("key", d, d), query)
        queries = (folded * d**-0.5)[:, None] * scale[None, None]
        weights = normalised_attention(tokens, mask, factor, queries)
        if self.gamma > 1:
            values = centred(tokens) * factor[:, :, None] * scale[None, None]
            values = values + bias[None, None]
            return self.classify(self.generalised_mean(weights[:, :, 0], values, mask))
        pooled = normalised_sum(tokens, factor, weights)
        return self.classify(pooled * scale[None] + bias[None])

    def generalised_mean(
        self,
        weights: Float[Array, "B N"],
        values: Float[Array, "B N D"],
        mask: Bool[Array, "B N"],
    ) -> Float[Array, "B D"]:
        """The generalised mean with the exponent `gamma`."""
        real = mask[:, :, None]
        least = jnp.min(values, where=real, initial=jnp.inf)
        # Masked positions need any positive number. They have no weight, unless a clip
        # has no real position at all; then all weights are equal.
        raised = jnp.where(real, values - least + POWER_EPS, 1.0) ** self.gamma
        return einsum("bn,bnd->bd", weights, raised) ** (1 / self.gamma)


class ESimPool(Probe):
    """SimPool with heads and without projections; a variant in the code of section 3.4.

    With `z'_n = LayerNorm(z_n)` and `q = LayerNorm(mean of z_n)`, split into H heads,
    `a_h = softmax_n(q_h . z'_nh / sqrt(D/H))`, and the result is `sum_n a_hn z_nh`.

    Attributes:
        num_heads: The number of heads H, a divisor of D.
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens, mask = flatten_tokens(as_tokens(x))
        b, _, d = tokens.shape
        self.check_divides("num_heads", d, "features")
        width = d // self.num_heads
        scale = self.param("scale", nn.initializers.ones, (d,))
        bias = self.param("bias", nn.initializers.zeros, (d,))
        mean = masked_mean(tokens, mask)
        query = centred(mean) * inverse_std(mean)[:, None] * scale[None] + bias[None]
        # One query per head, which is zero outside the head's own features.
        own = jnp.repeat(jnp.eye(self.num_heads), width, axis=1)
        folded = (query * scale[None])[:, None] * own[None] * width**-0.5
        weights = normalised_attention(tokens, mask, inverse_std(tokens), folded)
        parts = tokens.reshape(b, -1, self.num_heads, width)
        return self.classify(einsum("bnh,bnhe->bhe", weights, parts).reshape(b, d))


def normalised_attention(
    tokens: Float[Array, "B N D"],
    mask: Bool[Array, "B N"],
    factor: Float[Array, "B N"],
    queries: Float[Array, "B M D"],
) -> Float[Array, "B N M"]:
    """The attention weights of a clip's own queries on its normalised tokens.

    LayerNorm is `scale * (z - mean(z)) * factor + bias`. Subtracting the mean from the
    query is equivalent to subtracting it from every token, and the bias adds the same
    to all scores. Only the factor depends on the token.

    Args:
        tokens: Raw tokens.
        mask: True for real positions.
        factor: The inverse standard deviation of each token, from `inverse_std`.
        queries: The queries, already multiplied by the scale of the LayerNorm.
    """
    scores = einsum("bnd,bmd->bnm", tokens, centred(queries))
    return masked_softmax(scores * factor[:, :, None], mask[:, :, None], axis=1)


def normalised_sum(
    tokens: Float[Array, "B N D"],
    factor: Float[Array, "B N"],
    weights: Float[Array, "B N 1"],
) -> Float[Array, "B D"]:
    """The weighted sum of normalised tokens, without the LayerNorm's scale and bias.

    It is rearranged as in `normalised_attention`.
    """
    pooled = einsum("bnm,bnd->bmd", weights * factor[:, :, None], tokens)[:, 0]
    return centred(pooled)


def attention_weights(
    tokens: Float[Array, "B N D"],
    mask: Bool[Array, "B N"],
    queries: Float[Array, "M D"],
) -> Float[Array, "B N M"]:
    """The weights of the tokens for each query, which sum to 1 over the positions."""
    scores = einsum("bnd,md->bnm", tokens, queries)
    return masked_softmax(scores, mask[:, :, None], axis=1)


def centred(x: Float[Array, "*S D"]) -> Float[Array, "*S D"]:
    """`x` minus its mean over the last axis."""
    return x - x.mean(-1, keepdims=True)


def inverse_std(
    x: Float[Array, "*S D"], eps: float = VARIANCE_EPS
) -> Float[Array, "*S"]:
    """The inverse standard deviation over the last axis, with LayerNorm's `eps`."""
    return jax.lax.rsqrt(jnp.square(centred(x)).mean(-1) + eps)
