"""The baseline of the paper on ESC-50: EAT, one affine map of its class token.

    python -m experiments.train --config configs/linear_esc50.py

Paper (arXiv 2509.24901, Table 3, accuracy): linear 75.33 for EAT pre-trained on
AudioSet, protobin 86.83. `bpp_esc50.py` tells what is not known of the setting.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, ESC-50, linear."""
    config = default_config()
    config.dataset = "esc50"
    config.encoder = "eat"
    config.probes = "linear"
    return config
