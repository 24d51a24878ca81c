"""Whisper, the encoder of a speech recogniser (arXiv 2212.04356, ICML 2023).

Re-implemented from openai-whisper 20250625 (MIT); the published weights are under the
same licence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast

from jaxtyping import Array, Float, Int

from unmute_jax.audio.mel import SlaneyDecibels, mel_decibels
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    SpectrogramEncoder,
    mean_tokens,
    weights_fields,
)
from unmute_jax.encoders.whisper_network import STRIDE, WhisperNetwork
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.whisper import PUBLISHED_SIZES, WhisperCheckpoints

ORIGIN = Origin(
    title="Whisper",
    licence="MIT",
    citation="Radford et al., Robust Speech Recognition via Large-Scale Weak "
    "Supervision, ICML 2023, arXiv 2212.04356",
    code="github.com/openai/whisper, package 20250625",
    checkpoints=WhisperCheckpoints(),
    published=PUBLISHED_SIZES,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WhisperEncoder(SpectrogramEncoder):
    """Whisper with one set of weights: one token for every 20 ms, over all frequencies.

    The network was trained on inputs of 30 s, and by default gets them: silence fills
    the rest, and takes part in the attention. The tokens of that silence are far from
    those of the clip, and of a clip of 5 s they would be five in six. So they are left
    out: the tokens end with the longest clip of a batch, and those behind a shorter
    clip are masked. `mask_padding=False` keeps all of them. A clip longer than 30 s is
    cut off, or encoded in windows of 30 s with `length_policy=window`.

    Without the silence (`length_policy=crop`) tokens of 5 s take a sixth of the time,
    but they are others than the model's own: on two clips and the weights of Whisper
    base their cosine to those is 0.9 (median).
    """

    version: ClassVar[int] = 1

    network: WhisperNetwork

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        length_policy: str = "pad",
        target_frames: int | None = None,
        mask_padding: bool = True,
    ) -> WhisperEncoder:
        """Makes an encoder with the weights that `read` returns.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            length_policy: The policy for clips of other lengths, see `framing`. The
                reference always pads or cuts.
            target_frames: Length of the input in frames, of which 100 are a second;
                None, as many as there are positions for, which is 30 s in all published
                files.
            mask_padding: Whether tokens behind the clips are left out.

        Raises:
            InputError: The policy is unknown, the network does not take inputs that
                long, or `read` fails.
        """
        framing = Framing(
            filters=_filters(80),
            patch_frames=STRIDE,
            frames_per_step=STRIDE,
            policy=length_policy,
            target_frames=target_frames,
        )
        weights = read()
        return cls(
            name=name,
            **weights_fields(weights),
            framing=dataclasses.replace(
                framing,
                filters=_filters(weights.sizes.mels),
                target_frames=target_frames or STRIDE * weights.sizes.positions,
            ),
            mask_padding=mask_padding,
            network=WhisperNetwork(sizes=weights.sizes, num_heads=weights.num_heads),
        )

    # Facts -------------------------------------------------------------------

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of the only patch, which spans all frequencies."""
        return ((0.0, self._filters.high_hz),)

    @property
    def max_steps(self) -> int:
        """The number of positions."""
        return self.network.sizes.positions

    def input_samples(self, clip_seconds: float) -> int:
        """Length of the input of clips of up to `clip_seconds`, in samples.

        Where tokens behind the clips are left out, it is the length of the longest clip
        or what is heard of it; the silence behind it is added in `apply`.
        """
        samples = round(clip_seconds * self.sample_rate)
        self._check_length(samples)
        whole = self.framing.input_samples(samples)
        return min(samples, whole) if self._leaves_out else whole

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of clips of up to `clip_seconds`."""
        return self._num_tokens(self.input_samples(clip_seconds)), 1

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "mel": dataclasses.asdict(self._filters),
        }

    # Pure functions ----------------------------------------------------------

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes `(log10 of the band powers + 4) / 4`.

        Powers are at least 1e-8 of the maximum of their clip. Each window of a longer
        clip is a clip of its own.
        """
        b, samples = waveform.shape
        target = self.framing.target_frames or 0
        piece = min(samples, self._filters.num_samples(target))
        decibels = mel_decibels(waveform.reshape(-1, piece), self._filters)
        return (decibels / 10.0 + 4.0).reshape(b, -1, self._filters.num_mels) / 4.0

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
        t = frames // STRIDE
        layers, feature = self.run_network(
            params, (spectrogram,), tokens_per_clip=t, all_layers=all_layers
        )
        patches, *maps = [x.reshape(b, t, 1, -1) for x in (feature, *layers)]
        mask = self.token_mask(extent, (b, t, 1))
        return mean_tokens(patches, mask, maps if all_layers else None)

    def apply(
        self,
        params: Params,
        waveform: Float[Arr, "B S"],
        lengths: Int[Arr, "B"],
        *,
        all_layers: bool = False,
    ) -> Tokens:
        """`__call__` as a pure function, to be compiled by the caller."""
        tokens = super().apply(params, waveform, lengths, all_layers=all_layers)
        t = self._num_tokens(waveform.shape[1])
        layers = tokens.layers
        return dataclasses.replace(
            tokens,
            patches=tokens.patches[:, :t],
            mask=tokens.mask[:, :t],
            layers=None if layers is None else layers[:, :, :t],
        )

    @property
    def _filters(self) -> SlaneyDecibels:
        return cast(SlaneyDecibels, self.framing.filters)

    @property
    def _leaves_out(self) -> bool:
        """Whether tokens behind the clips are left out; repeated sound is real."""
        return self.mask_padding and self.framing.policy != "repeat"

    def _num_tokens(self, samples: int) -> int:
        """T for inputs of `samples` samples, before silence is added."""
        frames = self._filters.num_frames(self.framing.input_samples(samples))
        steps = self.framing.num_steps(frames)
        shift = STRIDE * self._filters.frame_shift
        return min(steps, -(-samples // shift)) if self._leaves_out else steps


def _filters(mels: int) -> SlaneyDecibels:
    """The front end of a network that reads `mels` mel bands."""
    return SlaneyDecibels(
        num_mels=mels,
        high_hz=8000.0,
        sample_rate=16000,
        fft_size=400,
        frame_shift=160,
        floor=1e-10,
        range_db=80.0,
    )


build = WhisperEncoder.build
