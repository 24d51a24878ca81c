"""Encoders that are a vision transformer over 16 x 16 patches of a Kaldi log-mel.

EAT, SSLAM, AudioMAE and ASiT share the filter bank, the patches and their order; each
has its own constants, network and checkpoints: its `vit_family.Family`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.encoders.base import Geometry, Params
from unmute_jax.encoders.spectrogram_encoder import (
    TOKENS_AT_ONCE,
    Extent,
    SpectrogramEncoder,
)
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.errors import InputError
from unmute_jax.frontends import KaldiFbank, fit_frames, kaldi_fbank, real_frames
from unmute_jax.portions import in_portions
from unmute_jax.tokens import Arr, Tokens
from unmute_jax.weights.vit import BANDS, PATCH

FBANK = KaldiFbank()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """How a log-mel becomes the network input: `(x - mean) / (2 std)`.

    Attributes:
        target_frames: Frames after cropping or padding with raw zeros.
        mean: Of the log-mels of the data set.
        std: Of the same.
    """

    target_frames: int
    mean: float
    std: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VitEncoder(SpectrogramEncoder):
    """A ViT with one set of weights.

    Attributes:
        network: The flax module.
        input: Length and normalisation of the spectrogram.
        positions: How stored positions become those of another length.
    """

    sample_rate = FBANK.sample_rate
    min_samples = FBANK.frame_length

    network: VitNetwork
    input: Input
    positions: str

    @property
    def num_features(self) -> int:
        """D."""
        return self.network.sizes.width

    @property
    def geometry(self) -> Geometry:
        """160 ms by 16 mel bands."""
        return Geometry(
            seconds_per_step=PATCH * FBANK.frame_shift / FBANK.sample_rate,
            frequency_edges_hz=tuple(
                FBANK.band_edges_hz(PATCH * f, PATCH * (f + 1)) for f in range(BANDS)
            ),
        )

    @property
    def frames_per_step(self) -> int:
        """16."""
        return PATCH

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "fbank": dataclasses.asdict(FBANK),
            "input": dataclasses.asdict(self.input),
            "positions": self.positions,
        }

    def input_samples(self, clip_seconds: float) -> int:
        """What fills `target_frames`, however long the clips are."""
        del clip_seconds
        return FBANK.num_samples(self.input.target_frames)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """Likewise the same for all clips."""
        del clip_seconds
        return self.input.target_frames // PATCH, BANDS

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Complete frames of the clip."""
        return real_frames(lengths, FBANK)

    def spectrogram(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Log-mels, cropped or padded with zeros, then normalised."""
        del params
        target, mean, std = dataclasses.astuple(self.input)
        # What lies behind the last frame would only be cropped later.
        logmel = kaldi_fbank(waveform[:, : FBANK.num_samples(target)], FBANK)
        fitted = fit_frames(logmel, self.real_frames(lengths), target)
        return (fitted - mean) / (2 * std)

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Arr, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The feature of the network, and the output of every block on request."""
        spectrogram = jnp.asarray(spectrogram)
        b, frames, mels = spectrogram.shape
        t, most = frames // PATCH, self.network.max_steps
        if mels != PATCH * BANDS or t < 1 or (most is not None and t > most):
            allowed = f"at least {PATCH}" if most is None else f"16 to {most * PATCH}"
            raise InputError(
                f"{self.name} takes {allowed} frames of {PATCH * BANDS} mel bands; "
                f"got {frames} of {mels}"
            )

        def run(params: Params, spectrogram: Array) -> tuple[list[Array], Array]:
            variables = {"params": params}
            encoded = self.network.apply(variables, spectrogram, method="encode")
            layers, last = cast(tuple[list[Array], Array], encoded)
            return layers if all_layers else [], last

        layers, last = in_portions(
            run, params, (spectrogram,), size=TOKENS_AT_ONCE // (1 + t * BANDS)
        )

        def token_map(x: Array) -> Array:
            return x[:, 1:].reshape(b, t, BANDS, -1)

        return Tokens(
            patches=token_map(last),
            cls=last[:, 0],
            mask=self.step_mask(extent, (b, t)),
            layers=jnp.stack([token_map(x) for x in layers], 1) if all_layers else None,
            layer_cls=jnp.stack([x[:, 0] for x in layers], 1) if all_layers else None,
        )

    def summary(self, tokens: Tokens) -> Float[Array, "B D"]:
        """What the head of fine-tuned weights reads: the class token by default."""
        return jnp.asarray(tokens.cls)

    def pooled(self, tokens: Tokens) -> Float[Array, "B D"]:
        """What the last linear map of fine-tuned weights reads.

        Raises:
            InputError: The weights hold no head.
        """
        return self._head(tokens, "pool")

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Class scores, before the sigmoid, of fine-tuned weights.

        Raises:
            InputError: The weights hold no head.
        """
        return self._head(tokens, "classify")

    def _head(self, tokens: Tokens, method: str) -> Array:
        if self.network.sizes.classes is None:
            return super().logits(tokens)
        with jax.default_matmul_precision("highest"):
            variables, x = {"params": self.params}, self.summary(tokens)
            return cast(Array, self.network.apply(variables, x, method=method))
