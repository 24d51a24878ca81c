"""Array operations worth their own backward."""

from unmute_jax.ops.cosine import max_cosine

__all__ = ["max_cosine"]
