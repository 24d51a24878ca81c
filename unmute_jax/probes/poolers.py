"""Attentive poolers of other benchmarks: one learned query and layers around it.

They are not among the paper's probes. Each follows the public code that it is named
after and ends in an affine map to the classes. As in `attention`, keys and values of
the tokens are never computed. The keys have no bias, because it would add the same to
all scores of a query.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.probes.attention import attention_weights, centred, inverse_std
from unmute_jax.probes.base import (
    VARIANCE_EPS,
    Probe,
    as_tokens,
    einsum,
    flatten_tokens,
    masked_softmax,
)
from unmute_jax.tokens import Summary, Tokens

# The constant of LayerNorm where the public code keeps PyTorch's default.
TORCH_EPS = 1e-5
# The width of the hidden layer of an MLP, relative to the tokens.
MLP_RATIO = 4


class NormParams(NamedTuple):
    """Scale and bias of a LayerNorm, shape `[D]` each."""

    scale: Array
    bias: Array


class Pooler(Probe):
    """Base class of the poolers of this file.

    Attributes:
        num_heads: The number of heads H, a divisor of D.
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens, mask = flatten_tokens(as_tokens(x))
        self.check_divides("num_heads", tokens.shape[-1], "features")
        return self.classify(self.pool(tokens, mask))

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        raise NotImplementedError

    def learned_vector(self, name: str, d: int) -> Float[Array, "1 D"]:
        """A parameter that is one vector."""
        return self.param(name, nn.initializers.normal(0.02), (1, d))

    def norm_params(self, name: str, d: int) -> NormParams:
        """The parameters of a LayerNorm."""
        return NormParams(
            self.param(f"{name}_scale", nn.initializers.ones, (d,)),
            self.param(f"{name}_bias", nn.initializers.zeros, (d,)),
        )

    def mlp(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Two affine maps with the exact GELU between them."""
        hidden = self.dense("mlp_in", x, MLP_RATIO * x.shape[-1])
        return self.dense("mlp_out", jax.nn.gelu(hidden, approximate=False), x.shape[1])

    def fold_key(self, query: Float[Array, "1 D"], width: int) -> Float[Array, "H D"]:
        """Each head's part of the query times the key projection, scaled."""
        d = query.shape[1]
        parts = query.reshape(-1, width)
        key = self.matrix("key", d, d).reshape(d, *parts.shape)
        return einsum("dhe,he->hd", key, parts) * width**-0.5

    def values(self, pooled: Float[Array, "B H D"]) -> Float[Array, "B D"]:
        """Each head's part of the value projection of its pooled vector."""
        b, h, d = pooled.shape
        value = self.matrix("value", d, d).reshape(d, h, -1)
        return einsum("bhd,dhe->bhe", pooled, value).reshape(b, d)

    def value_bias(self, d: int) -> Float[Array, "1 D"]:
        """The bias of the values, added once because the weights sum to one."""
        return self.param("value_bias", nn.initializers.zeros, (1, d))


class Jepa(Pooler):
    """The attentive pooler of V-JEPA.

    A query attends to normalised tokens. Two residual branches follow: the attention's
    result and an MLP.
    """

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        d = tokens.shape[-1]
        query = self.learned_vector("query", d)
        folded = self.fold_key(self.dense("query_map", query, d), d // self.num_heads)
        norm = self.norm_params("token_norm", d)
        factor = inverse_std(tokens, TORCH_EPS)
        scores = normalised_scores(tokens, factor, folded, norm)
        weights = masked_softmax(scores, mask[:, :, None], axis=1)
        pooled = normalised_sum(tokens, factor, weights, norm)
        answer = self.values(pooled) + self.value_bias(d)
        x = query + self.dense("project", answer, d)
        return x + self.mlp(
            layer_norm(x, self.norm_params("answer_norm", d), TORCH_EPS)
        )


class Cae(Pooler):
    """The attentive pooler of CAE, with separate norms of query, keys and values."""

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        d = tokens.shape[-1]
        query = self.learned_vector("query", d)
        query = layer_norm(query, self.norm_params("query_norm", d), TORCH_EPS)
        query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
        folded = self.fold_key(query, d // self.num_heads)
        factor = inverse_std(tokens, TORCH_EPS)
        scores = normalised_scores(
            tokens, factor, folded, self.norm_params("key_norm", d)
        )
        weights = masked_softmax(scores, mask[:, :, None], axis=1)
        pooled = normalised_sum(
            tokens, factor, weights, self.norm_params("value_norm", d)
        )
        return self.dense("project", self.values(pooled), d)


class Cait(Pooler):
    """The class attention of CaiT, one block.

    A learned class token attends to the tokens and to itself, all normalised. The two
    residual branches, attention and MLP, have a learned scale for each feature.

    Attributes:
        first_scale: The initial scale of the branches.
    """

    first_scale: float = 1e-4

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        d = tokens.shape[-1]
        cls, norm = self.learned_vector("cls", d), self.norm_params("token_norm", d)
        own = layer_norm(cls, norm)
        folded = self.fold_key(self.dense("query_map", own, d), d // self.num_heads)
        factor = inverse_std(tokens)
        scores = normalised_scores(tokens, factor, folded, norm)
        # The class token is one more position, the same in every clip. The scores of
        # the tokens leave out what the bias of the norm adds to all of them.
        itself = einsum("bd,hd->bh", own - norm.bias[None], folded)[:, None]
        itself = jnp.broadcast_to(itself, (len(tokens), *itself.shape[1:]))
        every = jnp.concatenate([itself, scores], axis=1)
        is_real = jnp.concatenate([jnp.ones_like(mask[:, :1]), mask], axis=1)
        weights = masked_softmax(every, is_real[:, :, None], axis=1)
        pooled = normalised_sum(tokens, factor, weights[:, 1:], norm, sum_to_one=False)
        pooled = pooled + weights[:, 0, :, None] * own[:, None]
        answer = self.values(pooled) + self.value_bias(d)
        x = cls + self.scaled("attention_scale", self.dense("project", answer, d))
        inner = layer_norm(x, self.norm_params("answer_norm", d))
        x = x + self.scaled("mlp_scale", self.mlp(inner))
        return layer_norm(x, self.norm_params("last_norm", d), TORCH_EPS)

    def scaled(self, name: str, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """A branch times its learned scale."""
        initialise = nn.initializers.constant(self.first_scale)
        return x * self.param(name, initialise, (x.shape[1],))[None]


class SigLip(Pooler):
    """The latent attention pooling of SigLIP, followed by a residual MLP."""

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        d = tokens.shape[-1]
        query = self.dense("query_map", self.learned_vector("query", d), d)
        weights = attention_weights(
            tokens, mask, self.fold_key(query, d // self.num_heads)
        )
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        x = self.dense("project", self.values(pooled) + self.value_bias(d), d)
        return x + self.mlp(x)


class CoCa(Pooler):
    """The attentive pooler of CoCa, whose heads share one key and value of width D/H.

    The original has many queries. Only the result of the first one describes the clip,
    and the queries do not interact, so this pooler has only that one.
    """

    def pool(
        self, tokens: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """The vector of each clip."""
        b, _, d = tokens.shape
        width = d // self.num_heads
        query = self.learned_vector("query", d)
        scale = self.param("query_norm_scale", nn.initializers.ones, (d,))
        query = layer_norm(query, NormParams(scale, jnp.zeros(d)), TORCH_EPS)
        query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
        key, value = self.matrix("key", d, width), self.matrix("value", d, width)
        folded = einsum("de,he->hd", key, query.reshape(-1, width)) * width**-0.5
        weights = attention_weights(tokens, mask, folded)
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        answer = einsum("bhd,de->bhe", pooled, value).reshape(b, d)
        return einsum("bd,de->be", answer, self.matrix("project", d, d))


def normalised_scores(
    tokens: Float[Array, "B N D"],
    factor: Float[Array, "B N"],
    folded: Float[Array, "H D"],
    norm: NormParams,
) -> Float[Array, "B N H"]:
    """The products of normalised tokens with queries, up to a constant per query.

    They are rearranged as in `attention.normalised_attention`.

    Args:
        tokens: Raw tokens.
        factor: The inverse standard deviation of each token, from `inverse_std`.
        folded: The query of each head, from `fold_key`.
        norm: The parameters of the LayerNorm.
    """
    queries = centred(folded * norm.scale[None])
    return einsum("bnd,hd->bnh", tokens, queries) * factor[:, :, None]


def normalised_sum(
    tokens: Float[Array, "B N D"],
    factor: Float[Array, "B N"],
    weights: Float[Array, "B N H"],
    norm: NormParams,
    *,
    sum_to_one: bool = True,
) -> Float[Array, "B H D"]:
    """`sum_n weights_nh LayerNorm(z_n)`.

    Args:
        tokens: Raw tokens.
        factor: The inverse standard deviation of each token, from `inverse_std`.
        weights: The weights of the tokens for each head.
        norm: The parameters of the LayerNorm.
        sum_to_one: Whether the weights of a head sum to one, so that the bias of the
            LayerNorm is added once.
    """
    pooled = einsum("bnh,bnd->bhd", weights * factor[:, :, None], tokens)
    bias: Any = norm.bias[None, None]
    if not sum_to_one:
        bias = bias * weights.sum(1)[:, :, None]
    return centred(pooled) * norm.scale[None, None] + bias


def layer_norm(
    x: Float[Array, "B D"], norm: NormParams, eps: float = VARIANCE_EPS
) -> Float[Array, "B D"]:
    """LayerNorm over the features of a few vectors."""
    factor = inverse_std(x, eps)[:, None]
    return centred(x) * factor * norm.scale[None] + norm.bias[None]
