"""`python -m unmute_jax.datasets` is the command `unmute datasets`."""

import sys

from unmute_jax.cli.datasets import run

# The usage message begins with it.
sys.argv[0] = "python -m unmute_jax.datasets"
run()
