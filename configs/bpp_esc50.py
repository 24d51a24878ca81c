"""The paper's probe on ESC-50: EAT, binarised prototypes, 20 per class.

    python -m experiments.train --config configs/bpp_esc50.py

Paper (arXiv 2509.24901, Table 3, accuracy): protobin 86.83, mhca 89.83, linear 75.33
for EAT pre-trained on AudioSet. Which fold it tested on is not known: here fold 1 is
the test split, fold 2 validates, folds 3-5 train;

    --config.refit=True                     trains the chosen setting on 1,600 clips
    --config.dataset_options.test_fold=0    runs all five folds
    --config.frontend.recipe=esc50          512 frames, as in EAT's own fine-tuning
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, ESC-50, protobin J=20."""
    config = default_config()
    config.dataset = "esc50"
    config.encoder = "eat"
    config.probes = "protobin"
    config.probe_options.prototypes_per_class = 20
    return config
