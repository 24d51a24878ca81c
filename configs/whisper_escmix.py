"""Whisper base on mixtures of environmental sounds, with its real weights.

    unmute train --config whisper_escmix --config.weights=FILE

The weights are downloaded from Hugging Face where no file is given. The settings are
those of `quickstart` with the default rates; Whisper has one frequency row, and its 512
features are split into 8 heads. A clip of 10 s has 500 tokens, one every 20 ms.
"""

from unmute_jax.config import default_config


def get_config():
    """Whisper, esc_mix, eight probes and the baseline `stats`, five seeds."""
    config = default_config()
    config.dataset = "esc_mix"
    config.encoder = "whisper"
    config.probes = "linear,mlp,mhca,ep,simpool,proto,protofloat,protobin,stats"
    config.probe_options.num_heads = 8
    config.eval_every = 3
    return config
