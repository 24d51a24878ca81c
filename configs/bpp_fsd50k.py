"""The paper's probe on FSD50K: EAT, binarised prototypes, 20 per class.

    unmute train --config bpp_fsd50k --config.data_dir=FOLDER

The paper (arXiv 2509.24901, Table 2, mAP) reports protobin 55.64, proto 56.07, mhca
51.06 and linear 36.39 for EAT pre-trained on AudioSet. The official splits train,
validate and test. What the paper does with clips that are not ten seconds long is not
known. This config pads shorter clips and cuts longer ones. A variant:

    --config.frontend.length_policy=repeat    fills ten seconds with shorter clips

`unmute sweep` searches the paper's range of learning rates, as far as it is known;
`--config.sweep.ranges=common` searches 1e-5 to 0.3.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, FSD50K, protobin J=20."""
    config = default_config()
    config.dataset = "fsd50k"
    config.encoder = "eat"
    config.probes = "protobin"
    config.probe_options.prototypes_per_class = 20
    config.sweep.ranges = "paper"
    return config
