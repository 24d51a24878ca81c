"""The baseline of the paper on FSD50K: EAT, one affine map of its class token.

    python -m experiments.train --config configs/linear_fsd50k.py \
        --config.data_dir=FOLDER

Paper (arXiv 2509.24901, Table 2, mAP): linear 36.39 for EAT pre-trained on AudioSet,
protobin 55.64.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, FSD50K, linear."""
    config = default_config()
    config.dataset = "fsd50k"
    config.encoder = "eat"
    config.probes = "linear"
    return config
