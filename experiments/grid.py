"""Runs a grid of experiments.

This is `unmute grid` from a checkout.

python -m experiments.grid --help
"""

from unmute_jax.cli import grid

if __name__ == "__main__":
    grid.run()
