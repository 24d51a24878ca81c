"""Trains probes on the tokens of a frozen encoder.

This is `unmute train` from a checkout.

python -m experiments.train --help
"""

from unmute_jax.cli import train

if __name__ == "__main__":
    train.run()
