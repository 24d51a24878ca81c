"""Lists and checks data sets: `python -m unmute_jax.datasets`, or `unmute datasets`."""

from unmute_jax.cli.datasets import run

run()
