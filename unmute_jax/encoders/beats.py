"""BEATs, audio pre-training with acoustic tokenizers (arXiv 2212.09058, ICML 2023).

Re-implemented from github.com/microsoft/unilm, folder beats, commit 158b811 (MIT); the
published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import KaldiFbank, frame_mask, kaldi_fbank
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.beats_network import BeatsNetwork
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    TOKENS_AT_ONCE,
    SpectrogramEncoder,
    mean_tokens,
)
from unmute_jax.ops.chunked import map_in_chunks
from unmute_jax.tokens import Tokens
from unmute_jax.weights import beats as checkpoints
from unmute_jax.weights.beats import BANDS, PATCH
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin

FBANK = KaldiFbank(window="povey")
# Waveforms as 16-bit numbers; then (log-mel - mean) / (2 std), for all data sets.
SCALE, MEAN, STD = 2.0**15, 15.41663, 6.55582

ORIGIN = Origin(
    title="BEATs",
    licence="MIT",
    citation="Chen et al., BEATs: Audio Pre-Training with Acoustic Tokenizers, ICML "
    "2023, arXiv 2212.09058",
    code="github.com/microsoft/unilm, folder beats, commit 158b811",
    checkpoints=checkpoints,
    published={(768, 12): ("base", 12)},
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BeatsEncoder(SpectrogramEncoder):
    """BEATs with one set of weights; takes clips of any length.

    What lies behind a clip is silence, as the reference sees padding without a mask.

    Attributes:
        network: The flax module.
        attention_mask: Whether padding is kept out of the network as well, as the
            reference does when it is given a padding mask.
    """

    version: ClassVar[int] = 1
    sample_rate = FBANK.sample_rate
    min_samples: ClassVar[int] = FBANK.min_samples

    network: BeatsNetwork
    attention_mask: bool = False

    @property
    def num_features(self) -> int:
        """D."""
        return self.network.sizes.width

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """16 mel bands each."""
        return FBANK.patch_edges_hz(PATCH, PATCH)

    def details(self) -> dict[str, Any]:
        """Sizes, heads among them, and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.sizes.num_heads,
            "fbank": dataclasses.asdict(FBANK),
            "input": {"scale": SCALE, "mean": MEAN, "std": STD},
            "attention_mask": self.attention_mask,
        }

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Normalised log-mels of the clip and of the silence behind it."""
        del params, lengths
        return (kaldi_fbank(SCALE * waveform, FBANK) - MEAN) / (2 * STD)

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The output of the last block, and of all of them on request."""
        b, frames, _ = spectrogram.shape
        grid = b, frames // PATCH, BANDS
        keys, mask = None, self.band_mask(extent, grid)
        if extent is not None and self.attention_mask:
            keys = real_tokens(extent, frames, grid[1] * grid[2])
            mask = keys.reshape(grid)

        def run(params: Params, spectrogram: Array, keys: Array | None) -> list[Array]:
            outputs = self.network.apply({"params": params}, spectrogram, keys)
            return cast(list[Array], outputs)[0 if all_layers else -1 :]

        outputs = map_in_chunks(
            run, params, (spectrogram, keys), size=TOKENS_AT_ONCE // (grid[1] * grid[2])
        )
        maps = [x.reshape(*grid, -1) for x in outputs]
        return mean_tokens(maps[-1], mask, maps if all_layers else None)

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """`head(mean token)` of fine-tuned weights."""
        if self.network.sizes.classes is None:
            return super().logits(tokens)
        with jax.default_matmul_precision("highest"):
            variables = {"params": self.params}
            logits = self.network.apply(variables, tokens.cls, method="classify")
        return cast(Array, logits)


def real_tokens(extent: Extent, frames: int, tokens: int) -> Bool[Array, "B N"]:
    """The tokens that the padding mask of the reference leaves.

    It shortens a mask of samples to one of frames and that to one of tokens, both times
    in equal groups, and a group is padding where all of it is. The tokens are cut as
    one sequence, so a time step may keep some of its bands.

    Args:
        extent: Of the clips in the input.
        frames: Of the input.
        tokens: N, over time and frequency.
    """
    group = extent.samples // frames
    real_frames = -(-jnp.asarray(extent.lengths) // group)
    return frame_mask(-(-real_frames // (frames // tokens)), tokens)


def build(
    name: str,
    read: Callable[[], EncoderWeights],
    *,
    length_policy: str = "pad",
    target_frames: int | None = None,
    mask_padding: bool = False,
    attention_mask: bool = False,
) -> BeatsEncoder:
    """BEATs with the weights that `read` gives.

    Args:
        name: As in the registry.
        read: Gives the weights.
        length_policy: What becomes of clips of different lengths, see `framing`.
        target_frames: Length of the input in frames, of which 100 are a second; None,
            as long as the longest clip, which the reference allows.
        mask_padding: Whether time steps without a real frame are masked.
        attention_mask: Whether padding is masked in the attention too, as the reference
            can do; the mask of the tokens is then that of the reference.

    Raises:
        InputError: An unknown policy, or of `read`.
    """
    framing = Framing(
        filters=FBANK,
        patch_frames=PATCH,
        frames_per_step=PATCH,
        policy=length_policy,
        target_frames=target_frames,
    )
    weights = read()
    return BeatsEncoder(
        name=name,
        description=weights.description,
        licence=weights.licence,
        weights=weights.identity,
        params=weights.params,
        classes=weights.classes,
        framing=framing,
        mask_padding=mask_padding,
        attention_mask=attention_mask,
        network=BeatsNetwork(sizes=weights.sizes),
    )
