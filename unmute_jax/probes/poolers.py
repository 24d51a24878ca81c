"""Attentive poolers of other benchmarks: one learned query, and more layers around it.

They are not among the paper's probes. Each follows the public code that it is named
after, and ends, as all probes here, in an affine map to the classes. As in `attention`,
keys and values of tokens are never made. A bias of the keys would add the same to
every score of a query, so there is none.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.probes.attention import (
    attend,
    centred,
    inverse_spread,
    masked_softmax,
)
from unmute_jax.probes.base import Probe, as_tokens, einsum, real_positions
from unmute_jax.tokens import Summary, Tokens

# Guard of LayerNorm where the codes keep PyTorch's default.
TORCH_EPS = 1e-5
# How much wider the hidden layer of an MLP is than the tokens.
MLP_RATIO = 4


class Norm(NamedTuple):
    """Scale and bias of a LayerNorm, `[D]` each."""

    scale: Array
    bias: Array


class Pooler(Probe):
    """What the poolers of this file share.

    Attributes:
        num_heads: H, a divisor of D.
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_heads")

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens, mask = real_positions(as_tokens(x))
        self.check_divides("num_heads", tokens.shape[-1], "features")
        return self.classify(self.pool(tokens, mask))

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """One vector per clip."""
        raise NotImplementedError

    def learned(self, name: str, d: int) -> Float[Array, "1 D"]:
        """A vector that is a parameter."""
        return self.param(name, nn.initializers.normal(0.02), (1, d))

    def norm(self, name: str, d: int) -> Norm:
        """The parameters of a LayerNorm."""
        return Norm(
            self.param(f"{name}_scale", nn.initializers.ones, (d,)),
            self.param(f"{name}_bias", nn.initializers.zeros, (d,)),
        )

    def mlp(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Two affine maps with an exact GELU between them."""
        hidden = self.dense("mlp_in", x, MLP_RATIO * x.shape[-1])
        return self.dense("mlp_out", jax.nn.gelu(hidden, approximate=False), x.shape[1])

    def fold(self, query: Float[Array, "1 D"], width: int) -> Float[Array, "H D"]:
        """A head's part of the query with the keys' projection in it, scaled."""
        d = query.shape[1]
        parts = query.reshape(-1, width)
        key = self.matrix("key", d, d).reshape(d, *parts.shape)
        return einsum("dhe,he->hd", key, parts) * width**-0.5

    def values(self, pooled: Float[Array, "B H D"]) -> Float[Array, "B D"]:
        """Every head's part of the values' projection of what the head pooled."""
        b, h, d = pooled.shape
        value = self.matrix("value", d, d).reshape(d, h, -1)
        return einsum("bhd,dhe->bhe", pooled, value).reshape(b, d)

    def value_bias(self, d: int) -> Float[Array, "1 D"]:
        """Weights sum to one, so the values' bias is added once."""
        return self.param("value_bias", nn.initializers.zeros, (1, d))


class Jepa(Pooler):
    """The attentive pooler of V-JEPA.

    A query meets LayerNorm'ed tokens; the answer is added to it, and an MLP of the sum.
    """

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `Pooler.pool`."""
        d = tokens.shape[-1]
        query = self.learned("query", d)
        folded = self.fold(self.dense("query_map", query, d), d // self.num_heads)
        norm = self.norm("token_norm", d)
        factor = inverse_spread(tokens, TORCH_EPS)
        weights = masked_softmax(scores_of(tokens, factor, folded, norm), mask)
        pooled = normalised_sum(tokens, factor, weights, norm)
        answer = self.values(pooled) + self.value_bias(d)
        x = query + self.dense("project", answer, d)
        return x + self.mlp(layer_norm(x, self.norm("answer_norm", d), TORCH_EPS))


class Cae(Pooler):
    """The attentive pooler of CAE: query, keys and values are normalised apart."""

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `Pooler.pool`."""
        d = tokens.shape[-1]
        query = self.learned("query", d)
        query = layer_norm(query, self.norm("query_norm", d), TORCH_EPS)
        query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
        folded = self.fold(query, d // self.num_heads)
        factor = inverse_spread(tokens, TORCH_EPS)
        scores = scores_of(tokens, factor, folded, self.norm("key_norm", d))
        weights = masked_softmax(scores, mask)
        pooled = normalised_sum(tokens, factor, weights, self.norm("value_norm", d))
        return self.dense("project", self.values(pooled), d)


class Cait(Pooler):
    """The class attention of CaiT, one block.

    A learned class token meets the tokens and itself, all LayerNorm'ed; two residual
    branches, attention and MLP, with a learned scale for each feature.

    Attributes:
        first_scale: Of the branches, before training.
    """

    first_scale: float = 1e-4

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `Pooler.pool`."""
        d = tokens.shape[-1]
        cls, norm = self.learned("cls", d), self.norm("token_norm", d)
        own = layer_norm(cls, norm)
        folded = self.fold(self.dense("query_map", own, d), d // self.num_heads)
        factor = inverse_spread(tokens)
        scores = scores_of(tokens, factor, folded, norm)
        # The class token is one position more, the same in every clip. Scores of tokens
        # leave out what the bias of the norm adds to all of them.
        itself = einsum("bd,hd->bh", own - norm.bias[None], folded)[:, None]
        itself = jnp.broadcast_to(itself, (len(tokens), *itself.shape[1:]))
        every = jnp.concatenate([itself, scores], axis=1)
        is_real = jnp.concatenate([jnp.ones_like(mask[:, :1]), mask], axis=1)
        weights = masked_softmax(every, is_real)
        pooled = normalised_sum(tokens, factor, weights[:, 1:], norm, whole=False)
        pooled = pooled + weights[:, 0, :, None] * own[:, None]
        answer = self.values(pooled) + self.value_bias(d)
        x = cls + self.scaled("attention_scale", self.dense("project", answer, d))
        inner = layer_norm(x, self.norm("answer_norm", d))
        x = x + self.scaled("mlp_scale", self.mlp(inner))
        return layer_norm(x, self.norm("last_norm", d), TORCH_EPS)

    def scaled(self, name: str, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """A branch times its learned scale."""
        initialise = nn.initializers.constant(self.first_scale)
        return x * self.param(name, initialise, (x.shape[1],))[None]


class SigLip(Pooler):
    """The latent attention pooling of SigLIP; an MLP of the answer is added to it."""

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `Pooler.pool`."""
        d = tokens.shape[-1]
        query = self.dense("query_map", self.learned("query", d), d)
        weights = attend(tokens, mask, self.fold(query, d // self.num_heads))
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        x = self.dense("project", self.values(pooled) + self.value_bias(d), d)
        return x + self.mlp(x)


class CoCa(Pooler):
    """The attentive pooler of CoCa: all heads share one key and one value of width D/H.

    The original has many queries; the first one's answer describes the clip, and as
    they do not meet, it is the only one here.
    """

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `Pooler.pool`."""
        b, _, d = tokens.shape
        width = d // self.num_heads
        query = self.learned("query", d)
        scale = self.param("query_norm_scale", nn.initializers.ones, (d,))
        query = layer_norm(query, Norm(scale, jnp.zeros(d)), TORCH_EPS)
        query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
        key, value = self.matrix("key", d, width), self.matrix("value", d, width)
        folded = einsum("de,he->hd", key, query.reshape(-1, width)) * width**-0.5
        weights = attend(tokens, mask, folded)
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        answer = einsum("bhd,de->bhe", pooled, value).reshape(b, d)
        return einsum("bd,de->be", answer, self.matrix("project", d, d))


def scores_of(
    tokens: Float[Array, "B N D"],
    factor: Float[Array, "B N"],
    folded: Float[Array, "H D"],
    norm: Norm,
) -> Float[Array, "B N H"]:
    """Products of LayerNorm'ed tokens with queries, up to a constant per query.

    LayerNorm is `scale * (z - mean(z)) * factor + bias`: see `attention.answer`.
    """
    queries = centred(folded * norm.scale[None])
    return einsum("bnd,hd->bnh", tokens, queries) * factor[:, :, None]


def normalised_sum(
    tokens: Float[Array, "B N D"],
    factor: Float[Array, "B N"],
    weights: Float[Array, "B N H"],
    norm: Norm,
    *,
    whole: bool = True,
) -> Float[Array, "B H D"]:
    """`sum_n weights_nh LayerNorm(z_n)`.

    Args:
        tokens: Raw.
        factor: `inverse_spread` of them.
        weights: Of each head.
        norm: Of the LayerNorm.
        whole: The weights sum to one. Otherwise the bias counts as much as they do.
    """
    pooled = einsum("bnh,bnd->bhd", weights * factor[:, :, None], tokens)
    bias: Any = norm.bias[None, None]
    if not whole:
        bias = bias * weights.sum(1)[:, :, None]
    return centred(pooled) * norm.scale[None, None] + bias


def layer_norm(
    x: Float[Array, "B D"], norm: Norm, eps: float = 1e-6
) -> Float[Array, "B D"]:
    """LayerNorm over the features of a few vectors."""
    spread = inverse_spread(x, eps)[:, None]
    return centred(x) * spread * norm.scale[None] + norm.bias[None]
