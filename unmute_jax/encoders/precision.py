"""Makes encoders multiply in bfloat16: less exact, but faster on some devices.

The table shows how much the tokens of real sounds change, for untrained networks of
base size and clips of 10 s (`python -m experiments.benchmarks.precision`). The columns
are the root mean square of the difference, the largest difference, both relative to the
root mean square of the tokens, and the lowest cosine between a token and its exact
value:

    A-MAE     0.40 %   2.1 %   0.99999
    ASiT      0.50 %   2.4 %   0.99998
    EAT       0.44 %   2.2 %   0.99999
    SSLAM     0.44 %   2.2 %   0.99999
    BEATs     0.04 %   0.2 %   1.00000
    Dasheng   0.06 %   0.6 %   1.00000

With the weights of the golden data, which are random in every tensor and far larger
than trained ones, the first number is 0.1 to 2.2 %. With those of Whisper base it is
0.9 %, and the largest difference 180 %, in a few tokens. `store.rounding` measures how
much of what tells clips apart is lost, and warns.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder

PRECISIONS = ("float32", "bfloat16")
# Part of the identity of an encoder.
IN_BFLOAT16 = "bfloat16 products in the blocks, summed in float32"

# The linear maps of a block. Everything else is a small share of the work.
_PRODUCTS = re.compile(r"blocks_\d+/\w+/(qkv|proj|fc1|fc2)/weight")


def in_bfloat16(encoder: SpectrogramEncoder) -> SpectrogramEncoder:
    """Makes the products in the transformer blocks of an encoder use bfloat16 factors.

    The products are the linear maps and the two products of the attention; their sums
    are float32. So is everything else: the front end, the embedding of the patches,
    residual sums, LayerNorms, softmaxes and the tokens.

    Args:
        encoder: An encoder whose `network` has a `dtype`.
    """

    def cast(path: tuple[Any, ...], x: Array) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return x.astype(jnp.bfloat16) if _PRODUCTS.fullmatch(name) else x

    return dataclasses.replace(
        encoder,
        params=jax.tree_util.tree_map_with_path(cast, encoder.params),
        network=encoder.network.clone(dtype=jnp.bfloat16),
        precision=IN_BFLOAT16,
    )


def is_in_bfloat16(encoder: SpectrogramEncoder) -> bool:
    """Whether products in the blocks of an encoder use bfloat16 factors."""
    return encoder.precision == IN_BFLOAT16


def with_float32_products(encoder: SpectrogramEncoder) -> SpectrogramEncoder:
    """Makes an encoder with the same weights whose activations are not rounded.

    Weights that `in_bfloat16` has rounded stay so. They are a little different weights,
    whatever sound they meet; what large activations lose is the rest.

    Args:
        encoder: An encoder that `in_bfloat16` returned.
    """
    return dataclasses.replace(
        encoder,
        params=jax.tree.map(lambda x: x.astype(jnp.float32), encoder.params),
        network=encoder.network.clone(dtype=jnp.float32),
        precision="float32, weights rounded to bfloat16",
    )
