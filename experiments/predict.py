"""Names the sounds in recordings with a trained probe.

This is `unmute predict` from a checkout.

python -m experiments.predict --help
"""

from unmute_jax.cli import predict

if __name__ == "__main__":
    predict.run()
