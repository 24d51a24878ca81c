"""Computes embeddings of clips and of their time steps, as other benchmarks want them.

`unmute_jax.hear` and `unmute_jax.xares` hand them out as tensors of PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import Encoder, load_encoder
from unmute_jax.errors import InputError, unknown_name

BAND_RULES = ("mean", "concatenate")


class Embeddings(NamedTuple):
    """Embeddings of B clips of equal length.

    Attributes:
        steps: Embeddings of the time steps, E features each.
        clips: Embeddings of whole clips: the class token, or the mean over all tokens
            where the encoder has none.
    """

    steps: Float[np.ndarray, "B T E"]
    clips: Float[np.ndarray, "B D"]


@dataclasses.dataclass(frozen=True)
class Embedder:
    """An encoder whose tokens are joined to one vector for each time step.

    Attributes:
        encoder: The encoder.
        bands: What becomes of the F frequency bands of a time step: "mean", their mean
            of D features; "concatenate", their F * D features, lowest band first.
    """

    encoder: Encoder
    bands: str

    @classmethod
    def load(
        cls, name: str, source: str | None, bands: str, options: dict[str, Any]
    ) -> Embedder:
        """Loads an encoder.

        Args:
            name: A name that `load_encoder` takes.
            source: The weights file, "untrained" for random weights, or None for the
                published default.
            bands: One of `BAND_RULES`.
            options: Options of the encoder.

        Raises:
            InputError: `load_encoder` fails, or `bands` is unknown.
        """
        if bands not in BAND_RULES:
            raise unknown_name("rule for frequency bands", bands, BAND_RULES)
        if source == "untrained":
            return cls(load_encoder(name, weights=source, **options), bands)
        return cls(load_encoder(name, source, **options), bands)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, in Hz."""
        return self.encoder.sample_rate

    @property
    def clip_features(self) -> int:
        """D, the features of the embedding of a clip."""
        return self.encoder.num_features

    @property
    def step_features(self) -> int:
        """E, the features of the embedding of a time step."""
        bands = len(self.encoder.geometry.frequency_edges_hz)
        return self.clip_features * (bands if self.bands == "concatenate" else 1)

    @property
    def ms_per_step(self) -> float:
        """Milliseconds from one time step to the next."""
        return 1000 * self.encoder.geometry.seconds_per_step

    def centres_ms(self, steps: int) -> Float[np.ndarray, " T"]:
        """The centres of the first time steps, in milliseconds."""
        return ((np.arange(steps) + 0.5) * self.ms_per_step).astype(np.float32)

    def __call__(self, audio: np.ndarray) -> Embeddings:
        """Computes the embeddings of clips of equal length.

        Time steps that begin behind the end of the clips, which hold nothing but
        padding, are left out. Means of whole clips leave padding out if the encoder
        does (`mask_padding`).

        Args:
            audio: Waveforms in [-1, 1] at `sample_rate`, `[B, S]`.

        Raises:
            InputError: The waveforms have another shape or type, are too short, or are
                longer than the input of the encoder.
        """
        if audio.ndim != 2:
            raise InputError(
                f"audio must have the shape [clips, samples], not {list(audio.shape)}"
            )
        b, samples = audio.shape
        seconds = samples / self.sample_rate
        clip_input = self.encoder.clip_input(seconds)
        heard = len(clip_input.heard(samples)) / self.sample_rate
        # Windows leave out the end of a clip that is shorter than a step.
        if 1000 * (seconds - heard) >= self.ms_per_step:
            raise InputError(
                f"{self.encoder.name} hears the first {heard:.4g} s "
                f"of a clip, and this one has {seconds:.4g} s: the option "
                "length_policy='window' encodes longer clips in windows"
            )
        inputs = clip_input.of_batch(audio, np.full(b, samples, np.int32))
        tokens = self.encoder(*inputs)
        # A whole number of steps must not become one more by rounding.
        steps = math.ceil(1000 * seconds / self.ms_per_step - 1e-6)
        # Copies: tensors of PyTorch share their memory, which must be writable.
        patches = np.array(tokens.patches[:, :steps], np.float32)
        joined = (
            patches.reshape(*patches.shape[:2], -1)
            if self.bands == "concatenate"
            else patches.mean(2)
        )
        return Embeddings(joined, np.array(tokens.cls, np.float32))
