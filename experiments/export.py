"""Writes a trained probe as a file of one bit per weight.

This is `unmute export` from a checkout.

python -m experiments.export --help
"""

from unmute_jax.cli import export

if __name__ == "__main__":
    export.run()
