"""The paper's probe on ESC-50: EAT, binarised prototypes, 20 per class.

    unmute train --config bpp_esc50

The paper (arXiv 2509.24901, Table 3, accuracy) reports protobin 86.83, mhca 89.83 and
linear 75.33 for EAT pre-trained on AudioSet. The fold it tested on is not known. This
config tests on fold 1, validates on fold 2 and trains on folds 3-5. Variants:

    --config.refit=True                     trains the chosen setting on 1,600 clips
    --config.dataset_options.test_fold=0    runs all five folds
    --config.frontend.recipe=esc50          512 frames, as in EAT's own fine-tuning

`unmute sweep` searches the paper's range of learning rates, as far as it is known;
`--config.sweep.ranges=common` searches 1e-5 to 0.3.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, ESC-50, protobin J=20."""
    config = default_config()
    config.dataset = "esc50"
    config.encoder = "eat"
    config.probes = "protobin"
    config.probe_options.prototypes_per_class = 20
    config.sweep.ranges = "paper"
    return config
