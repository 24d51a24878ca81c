"""Array operations that are worth their own implementation.

Most have a backward pass of their own, which needs far less memory than the one that
JAX derives. Others work through a batch in chunks, resize as PyTorch does, or count the
cost of a computation.
"""

from unmute_jax.ops.arrays import NORM_EPS, Arr
from unmute_jax.ops.chunked import map_in_chunks
from unmute_jax.ops.convolution import convolve
from unmute_jax.ops.cosine import MinMeanMax, max_cosine, max_product, min_mean_max
from unmute_jax.ops.flops import count_multiply_adds
from unmute_jax.ops.interpolation import bicubic, bilinear
from unmute_jax.ops.top_products import top_products

__all__ = [
    "NORM_EPS",
    "Arr",
    "MinMeanMax",
    "bicubic",
    "bilinear",
    "convolve",
    "count_multiply_adds",
    "map_in_chunks",
    "max_cosine",
    "max_product",
    "min_mean_max",
    "top_products",
]
