"""Names AudioSet's classes in recordings.

This is `unmute tag` from a checkout.

python -m experiments.tag --help
"""

from unmute_jax.cli import tag

if __name__ == "__main__":
    tag.run()
