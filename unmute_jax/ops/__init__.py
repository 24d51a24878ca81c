"""Array operations worth their own backward."""

from unmute_jax.ops.cosine import max_cosine, max_product
from unmute_jax.ops.top_products import top_products

__all__ = ["max_cosine", "max_product", "top_products"]
