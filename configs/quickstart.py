"""Real results without any download: mixtures of embedded recordings, no weights.

    unmute train --config quickstart

Each clip of `esc_mix` mixes one to nine sounds of ESC-10 in ten seconds, and the probes
name the sounds in it. The encoder `logmel` cuts the log-mel spectrogram into patches
and learns nothing, so only the pooling makes a difference. `stats` is the baseline that
every table should contain: mean, maximum and standard deviation over time, then one
linear layer.

The seven rates are those of the first version, so that the scores in the README stay.
"""

from unmute_jax.config import default_config


def get_config():
    """logmel, esc_mix, three probes."""
    config = default_config()
    config.dataset = "esc_mix"
    config.encoder = "logmel"
    config.probes = "linear,protobin,stats"
    config.probe_options.per_band = True
    config.eval_every = 3
    config.optimizer.learning_rates = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    return config
