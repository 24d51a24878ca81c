"""Shows what the prototypes of a trained probe turned into.

This is `unmute diagnose` from a checkout.

python -m experiments.diagnose --help
"""

from unmute_jax.cli import diagnose

if __name__ == "__main__":
    diagnose.run()
