"""Dasheng, scaled-up masked audio encoding (arXiv 2406.06992, Interspeech 2024).

Re-implemented from github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0), as its
package is since 0.0.8; the published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import frame_mask
from unmute_jax.audio.mel import Clamp, mel_decibels
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.dasheng_network import DashengNetwork
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    TOKENS_AT_ONCE,
    SpectrogramEncoder,
    mean_tokens,
)
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.ops.chunked import map_in_chunks
from unmute_jax.tokens import Tokens
from unmute_jax.weights import dasheng as checkpoints
from unmute_jax.weights.dasheng import FRAMES, MEL, PUBLISHED_SIZES
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin

ORIGIN = Origin(
    title="Dasheng",
    licence="Apache-2.0",
    citation="Dinkel et al., Scaling up masked audio encoder learning for general "
    "audio classification, Interspeech 2024, arXiv 2406.06992",
    code="github.com/RicherMans/Dasheng, commit db73093",
    checkpoints=checkpoints,
    published=PUBLISHED_SIZES,
)
# From one token to the next; a token is real where the clip fills all of this.
STEP_SAMPLES = FRAMES * MEL.frame_shift


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DashengEncoder(SpectrogramEncoder):
    """Dasheng with one set of weights; takes clips of any length.

    Clips beyond 10.08 s are encoded in pieces. What lies behind a clip is silence; the
    reference would reflect the end of the clip instead.

    Attributes:
        network: The flax module.
        clamp: Whose maximum the decibels are measured from, "clip" or "batch".
        attention_mask: Whether padding is not attended to, as in the reference when it
            is given lengths.
    """

    version: ClassVar[int] = 1
    sample_rate = MEL.sample_rate
    min_samples: ClassVar[int] = MEL.min_samples

    network: DashengNetwork
    clamp: Clamp = "clip"
    attention_mask: bool = False

    @property
    def num_features(self) -> int:
        """D."""
        return self.network.sizes.width

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """All frequencies in one patch."""
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
        """Sizes, heads and front end; its statistics are weights."""
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
        """Decibels after the BatchNorm, whose statistics are of the weights."""
        del lengths
        decibels = mel_decibels(waveform, MEL, self.clamp)
        variables = {"params": params}
        return cast(Array, self.network.apply(variables, decibels, method="normalise"))

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The last block after the final norm; on request all blocks before it."""
        b, frames, _ = spectrogram.shape
        steps = frames // FRAMES
        keys, mask = None, self.band_mask(extent, (b, steps, 1))
        if extent is not None and self.attention_mask:
            keys = frame_mask(jnp.asarray(extent.lengths) // STEP_SAMPLES, steps)
            mask = keys[:, :, None]

        def run(params: Params, spectrogram: Array, keys: Array | None) -> list[Array]:
            outputs = self.network.apply({"params": params}, spectrogram, keys)
            return cast(list[Array], outputs)[0 if all_layers else -1 :]

        outputs = map_in_chunks(
            run, params, (spectrogram, keys), size=TOKENS_AT_ONCE // steps
        )
        *blocks, patches = [x[:, :, None] for x in outputs]
        return mean_tokens(patches, mask, blocks if all_layers else None)

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """The head of fine-tuned weights on the mean token."""
        if self.network.sizes.classes is None:
            return super().logits(tokens)
        with jax.default_matmul_precision("highest"):
            variables = {"params": self.params}
            logits = self.network.apply(variables, tokens.cls, method="classify")
        return cast(Array, logits)


def build(
    name: str,
    read: Callable[[], EncoderWeights],
    *,
    clamp: str = "clip",
    length_policy: str = "pad",
    target_frames: int | None = None,
    mask_padding: bool = False,
    attention_mask: bool = False,
) -> DashengEncoder:
    """Dasheng with the weights that `read` gives.

    Args:
        name: As in the registry.
        read: Called when the options are known to be right.
        clamp: "clip": decibels end 120 below the maximum of their clip. "batch": of
            the whole batch, as in the reference; such tokens cannot be stored.
        length_policy: What becomes of clips of different lengths, see `framing`.
        target_frames: Length of the input in frames, of which 100 are a second; None,
            as long as the longest clip, which the reference allows.
        mask_padding: Whether time steps without a real frame are masked.
        attention_mask: Whether padding is masked in the attention too, as the reference
            can do; the mask of the tokens is then that of the reference.

    Raises:
        InputError: An unknown clamp or policy, or of `read`.
    """
    if clamp not in get_args(Clamp):
        raise unknown_name(f"clamp of encoder {name!r}", clamp, get_args(Clamp))
    framing = Framing(
        filters=MEL,
        patch_frames=FRAMES,
        frames_per_step=FRAMES,
        policy=length_policy,
        target_frames=target_frames,
    )
    weights = read()
    return DashengEncoder(
        name=name,
        description=weights.description,
        licence=weights.licence,
        weights=weights.identity,
        params=weights.params,
        classes=weights.classes,
        framing=framing,
        mask_padding=mask_padding,
        attention_mask=attention_mask,
        network=DashengNetwork(sizes=weights.sizes, num_heads=weights.num_heads),
        clamp=cast(Clamp, clamp),
    )
