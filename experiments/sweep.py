"""Searches learning rates and weight decays, then trains the best.

This is `unmute sweep` from a checkout.

python -m experiments.sweep --help
"""

from unmute_jax.cli import sweep

if __name__ == "__main__":
    sweep.run()
