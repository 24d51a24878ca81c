"""Implements encoders that take clips of any length and have no class token.

BEATs and Dasheng are such encoders. Both can keep padding out of the attention.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.encoders.base import Params
from unmute_jax.encoders.framing import Extent, FilterBank, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    SpectrogramEncoder,
    mean_tokens,
    weights_fields,
)
from unmute_jax.tokens import Tokens
from unmute_jax.weights.encoder_weights import EncoderWeights


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AnyLengthEncoder(SpectrogramEncoder):
    """An encoder with one set of weights that takes clips of any length.

    Attributes:
        filters: Front end of the encoder.
        patch_frames: Number of frames of a patch.
        attention_mask: Whether padding is kept out of the network, as the references do
            when they are given the lengths of the clips.
    """

    filters: ClassVar[FilterBank]
    patch_frames: ClassVar[int]

    attention_mask: bool = False

    @classmethod
    @abc.abstractmethod
    def make_network(cls, weights: EncoderWeights) -> nn.Module:
        """Makes the network of these weights.

        Its arguments are a spectrogram and, if padding is masked, the real tokens.
        """

    @abc.abstractmethod
    def real_tokens(
        self, extent: Extent, frames: int, tokens: int
    ) -> Bool[Array, "B N"]:
        """The tokens that the padding mask of the reference keeps.

        Args:
            extent: The part of each input that belongs to its clip.
            frames: Number of frames of the input.
            tokens: N, the number of tokens over time and frequency.
        """

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        length_policy: str = "pad",
        target_frames: int | None = None,
        mask_padding: bool = False,
        attention_mask: bool = False,
    ) -> AnyLengthEncoder:
        """Makes an encoder with the weights that `read` returns.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            length_policy: The policy for clips of different lengths, see `framing`.
            target_frames: Length of the input in frames, of which 100 are a second;
                None, the length of the longest clip, which the references allow.
            mask_padding: Whether time steps without a real frame are masked.
            attention_mask: Whether padding is masked in the attention too, as the
                references can do. The mask of the tokens is then that of the reference.

        Raises:
            InputError: The policy is unknown, or `read` fails.
        """
        framing = Framing(
            filters=cls.filters,
            patch_frames=cls.patch_frames,
            frames_per_step=cls.patch_frames,
            policy=length_policy,
            target_frames=target_frames,
        )
        weights = read()
        return cls(
            name=name,
            **weights_fields(weights),
            framing=framing,
            mask_padding=mask_padding,
            attention_mask=attention_mask,
            network=cls.make_network(weights),
        )

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The feature of the network and, on request, the output of every block."""
        b, frames, _ = spectrogram.shape
        t, f = frames // self.patch_frames, len(self.frequency_edges_hz)
        keys, mask = None, self.token_mask(extent, (b, t, f))
        if extent is not None and self.attention_mask:
            keys = self.real_tokens(extent, frames, t * f)
            mask = keys.reshape(b, t, f)
        layers, feature = self.run_network(
            params,
            (spectrogram, keys),
            tokens_per_clip=t * f,
            all_layers=all_layers,
        )
        patches, *maps = [x.reshape(b, t, f, -1) for x in (feature, *layers)]
        return mean_tokens(patches, mask, maps if all_layers else None)
