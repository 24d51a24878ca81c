"""The paper's baseline on FSD50K: EAT, one affine map of its class token.

    unmute train --config linear_fsd50k --config.data_dir=FOLDER

The paper (arXiv 2509.24901, Table 2, mAP) reports linear 36.39 and protobin 55.64 for
EAT pre-trained on AudioSet.

`unmute sweep` searches the paper's range of learning rates, as far as it is known;
`--config.sweep.ranges=common` searches 1e-5 to 0.3.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, FSD50K, linear."""
    config = default_config()
    config.dataset = "fsd50k"
    config.encoder = "eat"
    config.probes = "linear"
    config.sweep.ranges = "paper"
    return config
