"""The paper's few-shot setting on birds: EAT, 64 clips per class, protobin.

    unmute train --config birdset_64shot

Five mixed copies of every training clip are added, as in the paper. How the paper drew
its 64 clips, and what it selected on, is not known. This config uses the rule of
Bird-MAE, and a fifth of the 64 clips validates. Variants:

    --config.dataset=nbp/64shot              another of hsn pow per nes sne uhh nbp
    --config.dataset_options.seed=2          another draw; Bird-MAE has 1, 2 and 3
    --config.dataset_options.fill_up=True    64 clips even where few recordings qualify
    --config.refit=True                      trains the chosen setting on all 64 clips

`unmute sweep` searches the paper's range of learning rates, as far as it is known;
`--config.sweep.ranges=common` searches 1e-5 to 0.3.
"""

from unmute_jax.config import default_config


def get_config():
    """EAT, BirdSet HSN with 64 shots, protobin J=20."""
    config = default_config()
    config.dataset = "hsn/64shot"
    config.encoder = "eat"
    config.probes = "protobin"
    config.probe_options.prototypes_per_class = 20
    config.dataset_options.mixup = 5
    config.sweep.ranges = "paper"
    return config
