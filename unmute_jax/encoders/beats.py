"""BEATs, audio pre-training with acoustic tokenizers (arXiv 2212.09058, ICML 2023).

Re-implemented from github.com/microsoft/unilm, folder beats, commit 158b811 (MIT); the
published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import KaldiFbank, frame_mask, kaldi_fbank
from unmute_jax.encoders.any_length_encoder import AnyLengthEncoder
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.beats_network import BeatsNetwork
from unmute_jax.encoders.framing import Extent
from unmute_jax.weights.beats import PATCH, BeatsCheckpoints
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin

# Waveforms are scaled to 16-bit numbers; log-mels become (x - mean) / (2 std), with the
# same constants for all data sets.
SCALE, MEAN, STD = 2.0**15, 15.41663, 6.55582

ORIGIN = Origin(
    title="BEATs",
    licence="MIT",
    citation="Chen et al., BEATs: Audio Pre-Training with Acoustic Tokenizers, ICML "
    "2023, arXiv 2212.09058",
    code="github.com/microsoft/unilm, folder beats, commit 158b811",
    checkpoints=BeatsCheckpoints(),
    published={(768, 12): ("base", 12)},
)


class BeatsEncoder(AnyLengthEncoder):
    """BEATs with one set of weights.

    Padding is silence, which is what the reference sees without a padding mask.
    """

    version: ClassVar[int] = 1
    filters: ClassVar[KaldiFbank] = KaldiFbank(num_mels=128, window="povey")
    patch_frames = PATCH

    network: BeatsNetwork

    @classmethod
    def make_network(cls, weights: EncoderWeights) -> BeatsNetwork:
        """Makes the network of these weights."""
        return BeatsNetwork(sizes=weights.sizes)

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, 16 mel bands each."""
        return self.filters.patch_edges_hz(PATCH, PATCH)

    def details(self) -> dict[str, Any]:
        """Sizes, heads among them, and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.sizes.num_heads,
            "fbank": dataclasses.asdict(self.filters),
            "input": {"scale": SCALE, "mean": MEAN, "std": STD},
            "attention_mask": self.attention_mask,
        }

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes normalised log-mels of the clip and of the silence behind it."""
        return (kaldi_fbank(SCALE * waveform, self.filters) - MEAN) / (2 * STD)

    def real_tokens(
        self, extent: Extent, frames: int, tokens: int
    ) -> Bool[Array, "B N"]:
        """The tokens that the padding mask of the reference keeps.

        The reference shortens a mask of samples to one of frames, and that to one of
        tokens, both times in equal groups; a group is padding if all of it is. The
        tokens are grouped as one sequence, so a time step may keep some of its bands.
        """
        group = extent.samples // frames
        real_frames = -(-jnp.asarray(extent.lengths) // group)
        return frame_mask(-(-real_frames // (frames // tokens)), tokens)


build = BeatsEncoder.build
