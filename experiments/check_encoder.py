"""Checks an encoder before it is trusted with results.

This is `unmute check-encoder` from a checkout.

python -m experiments.check_encoder --help
"""

from unmute_jax.cli import check_encoder

if __name__ == "__main__":
    check_encoder.run()
