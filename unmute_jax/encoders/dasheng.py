"""Dasheng, scaled-up masked audio encoding (arXiv 2406.06992, Interspeech 2024).

Re-implemented from github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0), which
behaves as its package since version 0.0.8; the published weights are under the same
licence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import frame_mask
from unmute_jax.audio.mel import Clamp, mel_decibels
from unmute_jax.encoders.any_length_encoder import AnyLengthEncoder
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.dasheng_network import DashengNetwork
from unmute_jax.encoders.framing import Extent
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.weights.dasheng import (
    FRAMES,
    MEL,
    PUBLISHED_SIZES,
    DashengCheckpoints,
)
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin

ORIGIN = Origin(
    title="Dasheng",
    licence="Apache-2.0",
    citation="Dinkel et al., Scaling up masked audio encoder learning for general "
    "audio classification, Interspeech 2024, arXiv 2406.06992",
    code="github.com/RicherMans/Dasheng, commit db73093",
    checkpoints=DashengCheckpoints(),
    published=PUBLISHED_SIZES,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DashengEncoder(AnyLengthEncoder):
    """Dasheng with one set of weights.

    Clips longer than 10.08 s are encoded in pieces. Padding is silence, while the
    reference would reflect the end of the clip.

    Attributes:
        clamp: Whose maximum limits the range of the decibels, see `mel_decibels`.
    """

    version: ClassVar[int] = 1
    filters = MEL
    patch_frames = FRAMES

    network: DashengNetwork
    clamp: Clamp = "clip"

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        clamp: str = "clip",
        length_policy: str = "pad",
        target_frames: int | None = None,
        mask_padding: bool = False,
        attention_mask: bool = False,
    ) -> DashengEncoder:
        """Makes an encoder, see `AnyLengthEncoder.build`.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            clamp: "clip": decibels end 120 below the maximum of their clip. "batch":
                120 below that of the whole batch, as in the reference; such tokens
                cannot be stored.
            length_policy: The policy for clips of different lengths.
            target_frames: Length of the input in frames.
            mask_padding: Whether time steps without a real frame are masked.
            attention_mask: Whether padding is masked in the attention too.

        Raises:
            InputError: The clamp or the policy is unknown, or `read` fails.
        """
        if clamp not in get_args(Clamp):
            raise unknown_name(f"clamp of encoder {name!r}", clamp, get_args(Clamp))
        encoder = super().build(
            name,
            read,
            length_policy=length_policy,
            target_frames=target_frames,
            mask_padding=mask_padding,
            attention_mask=attention_mask,
        )
        made = cast(DashengEncoder, encoder)
        return dataclasses.replace(made, clamp=cast(Clamp, clamp))

    @classmethod
    def make_network(cls, weights: EncoderWeights) -> DashengNetwork:
        """Makes the network of these weights."""
        return DashengNetwork(sizes=weights.sizes, num_heads=weights.num_heads)

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of the only patch, which spans all frequencies."""
        return ((0.0, MEL.high_hz),)

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform.

        Raises:
            InputError: The other clips of a batch change them too.
        """
        if self.clamp == "batch":
            raise InputError(
                f"with clamp='batch' the tokens of {self.name} depend on the other "
                "clips of their batch, so they cannot be stored: use clamp='clip'"
            )
        return super().identity()

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end, whose statistics are among the weights."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "mel": dataclasses.asdict(MEL),
            "clamp": self.clamp,
            "attention_mask": self.attention_mask,
        }

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes decibels and applies the BatchNorm of the weights."""
        decibels = mel_decibels(waveform, MEL, self.clamp)
        variables = {"params": params}
        return cast(Array, self.network.apply(variables, decibels, method="normalise"))

    def real_tokens(
        self, extent: Extent, frames: int, tokens: int
    ) -> Bool[Array, "B N"]:
        """The tokens that the padding mask of the reference keeps.

        A token is real if the clip fills all of its samples.
        """
        samples = FRAMES * MEL.frame_shift
        return frame_mask(jnp.asarray(extent.lengths) // samples, tokens)


build = DashengEncoder.build
