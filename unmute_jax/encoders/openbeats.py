"""OpenBEATs, BEATs trained in the open on more data (arXiv 2507.14129, WASPAA 2025).

Re-implemented from the package openbeats 0.1.1 (MIT) and the ESPnet repository
(Apache-2.0). No licence of the published weights could be found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import frame_mask, kaldi_fbank
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.beats import SCALE, BeatsEncoder
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.ops.arrays import Arr
from unmute_jax.weights.beats import BANDS, PATCH
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.openbeats import OpenBeatsCheckpoints

ORIGIN = Origin(
    title="OpenBEATs",
    licence="none found for the weights (code: MIT)",
    citation="Bharadwaj et al., OpenBEATs: A Fully Open-Source General-Purpose Audio "
    "Encoder, WASPAA 2025, arXiv 2507.14129",
    code="package openbeats 0.1.1",
    checkpoints=OpenBeatsCheckpoints(),
    published={(768, 12): ("base", 12), (1024, 24): ("large", 16)},
)
# Clips with fewer samples are repeated.
SHORTEST = 3200


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepeatsShortClips(Framing):
    """Inputs in which clips of less than 0.2 s are repeated end to end.

    A clip of n samples is repeated 3200 // n + 1 times, as in the reference.
    """

    def input_samples(self, samples: int) -> int:
        """Length of the input for clips of up to `samples` samples."""
        if 0 < samples < SHORTEST:
            samples *= SHORTEST // samples + 1
        return super().input_samples(samples)

    def fit(
        self, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> tuple[Float[Array, "B R"], Extent]:
        """Applies the length policy, see `Framing.fit`; repeated sound is real."""
        fitted, extent = super().fit(waveform, lengths)
        heard = jnp.maximum(extent.lengths, 1)
        is_short = (extent.lengths > 0) & (heard < SHORTEST)
        total = jnp.where(is_short, heard * (SHORTEST // heard + 1), extent.lengths)
        total = jnp.minimum(total, extent.samples).astype(extent.lengths.dtype)
        places = jnp.arange(extent.samples)[None, :]
        repeated = jnp.take_along_axis(fitted, places % heard[:, None], axis=1)
        inside = is_short[:, None] & (places < total[:, None])
        return jnp.where(inside, repeated, fitted), Extent(total, extent.samples)


class OpenBeatsEncoder(BeatsEncoder):
    """OpenBEATs with one set of weights, which bring the constants of the front end.

    With `attention_mask` a clip has the same tokens alone and padded.
    """

    version: ClassVar[int] = 1

    @property
    def min_samples(self) -> int:
        """One sample: shorter clips than a frame are repeated."""
        return 1

    def details(self) -> dict[str, Any]:
        """Sizes, heads among them, and front end, whose constants are weights."""
        return {**super().details(), "input": {"scale": SCALE, "shortest": SHORTEST}}

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes normalised log-mels of the clip and of the silence behind it."""
        logmel = kaldi_fbank(SCALE * waveform, self.filters)
        mean, std = (params["input"][k].reshape(1, 1, 1) for k in ("mean", "std"))
        return (logmel - mean) / (2 * std)

    def real_tokens(
        self, extent: Extent, frames: int, tokens: int
    ) -> Bool[Array, "B N"]:
        """The tokens that the padding mask of the reference keeps.

        A token is padding if any cell of its patch is.
        """
        steps = self.filters.real_frames(extent.lengths) // PATCH
        return frame_mask(BANDS * steps, tokens)


def build(
    name: str,
    read: Callable[[], EncoderWeights],
    *,
    length_policy: str = "pad",
    target_frames: int | None = None,
    mask_padding: bool = False,
    attention_mask: bool = False,
) -> OpenBeatsEncoder:
    """Makes an encoder, see `AnyLengthEncoder.build`.

    Args:
        name: The name in the registry.
        read: Reads the weights; called once the options are valid.
        length_policy: The policy for clips of different lengths.
        target_frames: Length of the input in frames.
        mask_padding: Whether time steps without a real frame are masked.
        attention_mask: Whether padding is masked in the attention too.

    Raises:
        InputError: The policy is unknown, or `read` fails.
    """
    made = OpenBeatsEncoder.build(
        name,
        read,
        length_policy=length_policy,
        target_frames=target_frames,
        mask_padding=mask_padding,
        attention_mask=attention_mask,
    )
    fields = dataclasses.fields(Framing)
    framing = {field.name: getattr(made.framing, field.name) for field in fields}
    return cast(
        OpenBeatsEncoder,
        dataclasses.replace(made, framing=RepeatsShortClips(**framing)),
    )
