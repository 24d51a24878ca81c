"""Array operations worth their own backward."""

from unmute_jax.ops.cosine import max_cosine, max_product
from unmute_jax.ops.top_cosines import top_cosines

__all__ = ["max_cosine", "max_product", "top_cosines"]
