"""Array operations worth their own backward."""

from unmute_jax.ops.convolution import convolve
from unmute_jax.ops.cosine import MinMeanMax, max_cosine, max_product, product_range
from unmute_jax.ops.top_products import top_products

__all__ = [
    "MinMeanMax",
    "convolve",
    "max_cosine",
    "max_product",
    "product_range",
    "top_products",
]
