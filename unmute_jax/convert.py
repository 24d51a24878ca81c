"""Converts pretrained weights: `python -m unmute_jax.convert`, or `unmute convert`."""

from unmute_jax.cli.convert import run

if __name__ == "__main__":
    run()
