"""An encoder whose features are large, to see at which size stored tokens lose scores.

python -m experiments.benchmarks.compare_dtypes --config quickstart \
    --config.encoder=experiments.benchmarks.large_features:LargeFeatures \
    --config.frontend.mean=128 --config.probes=protobin --config.standardise \
    --config.optimizer.learning_rates=0.01,0.03 --config.seeds=2

The features are those of `logmel`, whose standard deviation is about 1, plus a number
that is the same for all clips. Standardised with the statistics of the training clips,
they are the features of `logmel` again, except for what rounding has cost.
"""

from __future__ import annotations

import dataclasses

from jaxtyping import Array

from unmute_jax.encoders import load_encoder
from unmute_jax.tokens import Tokens


class LargeFeatures:
    """`logmel` with a constant added to every feature."""

    version = 1

    def __init__(self, mean: float = 0.0):
        """Makes the encoder.

        Args:
            mean: The constant, in standard deviations of a feature.
        """
        self._logmel, self._mean = load_encoder("logmel"), mean
        self.sample_rate = self._logmel.sample_rate
        self.seconds_per_step = self._logmel.geometry.seconds_per_step
        self.frequency_edges_hz = self._logmel.geometry.frequency_edges_hz

    def input_samples(self, seconds: float) -> int:
        """The length of the input of clips of up to `seconds`."""
        return self._logmel.input_samples(seconds)

    def __call__(self, waveform: Array, lengths: Array) -> Tokens:
        """Computes the tokens of a batch."""
        tokens = self._logmel.apply({}, waveform, lengths)
        return dataclasses.replace(
            tokens,
            patches=tokens.patches + self._mean,
            cls=tokens.cls + self._mean,
        )
