"""What configs of the paper's setting share; no experiment by itself."""

from typing import Any

from unmute_jax.config import default_config


def paper_setting(dataset: str, probe: str) -> Any:
    """EAT with its published weights, one data set, one probe.

    The rest are defaults: AdamW with a cosine schedule, 30 epochs of batch 128, five
    seeds, and 20 prototypes per class where a probe has any, as in the paper. Its
    search for rates is `--config.search=sweep`.
    """
    config = default_config()
    config.dataset = dataset
    config.encoder = "eat"
    config.probes = probe
    config.probe_options.prototypes_per_class = 20
    return config
