"""The paper's baseline on ESC-50: EAT, one affine map of its class token.

    unmute train --config linear_esc50

The paper (arXiv 2509.24901, Table 3, accuracy) reports linear 75.33 and protobin 86.83
for EAT pre-trained on AudioSet. `bpp_esc50.py` says what is not known of the setting.

`unmute sweep` searches the paper's range of learning rates, as far as it is known;
`--config.sweep.ranges=common` searches 1e-5 to 0.3.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, ESC-50, linear."""
    config = default_config()
    config.dataset = "esc50"
    config.encoder = "eat"
    config.probes = "linear"
    config.sweep.ranges = "paper"
    return config
