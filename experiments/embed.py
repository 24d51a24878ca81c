"""Computes, exports, lists and checks token stores.

This is `unmute embed` from a checkout.

python -m experiments.embed --help
"""

from unmute_jax.cli import embed

if __name__ == "__main__":
    embed.run()
