"""A weightless encoder: patches of the log-mel spectrogram, as they are.

The floor under every table: what a probe reaches without any learnt feature.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from unmute_jax.encoders.base import Geometry, Params
from unmute_jax.encoders.spectrogram_encoder import (
    Extent,
    SpectrogramEncoder,
    mean_tokens,
)
from unmute_jax.errors import InputError
from unmute_jax.frontends import KaldiFbank, fit_frames, kaldi_fbank, real_frames
from unmute_jax.tokens import Arr, Tokens

FBANK = KaldiFbank()
PATCH = 16
ORIGIN = None  # of weights, as there are none


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LogmelEncoder(SpectrogramEncoder):
    """Flattened 16 x 16 patches of standardised log-mels, D = 256.

    The filter bank is that of EAT. Every mel band is standardised with constants of the
    package (`logmel_bands.json` says how they were made). Frames beyond the end of a
    clip are zero, so that patches of them match nothing. `cls` is the mean of the
    patches.

    Attributes:
        stride_time: Frames from one patch to the next; under 16, they overlap.
        stride_mel: Likewise in mel bands.
    """

    version: ClassVar[int] = 1
    sample_rate = FBANK.sample_rate
    min_samples: ClassVar[int] = FBANK.frame_length

    stride_time: int
    stride_mel: int

    @property
    def num_features(self) -> int:
        """The cells of a patch."""
        return PATCH * PATCH

    @property
    def geometry(self) -> Geometry:
        """With the default strides 160 ms by 16 mel bands."""
        lowest_bands = range(0, FBANK.num_mels - PATCH + 1, self.stride_mel)
        return Geometry(
            seconds_per_step=self.stride_time * FBANK.frame_shift / FBANK.sample_rate,
            frequency_edges_hz=tuple(
                FBANK.band_edges_hz(m, m + PATCH) for m in lowest_bands
            ),
        )

    @property
    def frames_per_step(self) -> int:
        """The stride in time."""
        return self.stride_time

    def details(self) -> dict[str, Any]:
        """Strides, constants and filter bank."""
        mean, std = _bands()
        return {
            "strides": [self.stride_time, self.stride_mel],
            "bands": {"mean": mean.tolist(), "std": std.tolist()},
            "fbank": dataclasses.asdict(FBANK),
        }

    def input_samples(self, clip_seconds: float) -> int:
        """The samples of the clip."""
        return round(clip_seconds * FBANK.sample_rate)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """Every whole patch that fits into the clip.

        Raises:
            InputError: Not even one does.
        """
        frames = FBANK.num_frames(self.input_samples(clip_seconds))
        if frames < PATCH:
            shortest = FBANK.num_samples(PATCH) / FBANK.sample_rate
            raise InputError(
                f"{self.name} needs clips of at least {shortest} s, a patch of {PATCH} "
                f"frames; got {clip_seconds} s"
            )
        return self._steps(frames), self._bands()

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Complete frames of the clip."""
        return real_frames(lengths, FBANK)

    def spectrogram(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Standardised log-mels; zero beyond the end of each clip."""
        del params
        mean, std = _bands()
        logmel = kaldi_fbank(waveform, FBANK)
        standardised = (logmel - mean[None, None]) / std[None, None]
        return fit_frames(standardised, self.real_frames(lengths), logmel.shape[1])

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Arr, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The patches; as "layers" they are the only one."""
        del params
        b, frames, mels = spectrogram.shape
        if mels != FBANK.num_mels or frames < PATCH:
            raise InputError(
                f"{self.name} takes at least {PATCH} frames of {FBANK.num_mels} mel "
                f"bands; got {frames} of {mels}"
            )
        rows = _windows(jnp.asarray(spectrogram), 1, self.stride_time)
        cells = _windows(rows, 3, self.stride_mel)  # [B, T, time, F, mel]
        b, t, _, f, _ = cells.shape
        patches = cells.swapaxes(2, 3).reshape(b, t, f, PATCH * PATCH)
        mask = self.band_mask(extent, (b, t, f))
        return mean_tokens(patches, mask, [patches] if all_layers else None)

    def _steps(self, frames: int) -> int:
        return 1 + (frames - PATCH) // self.stride_time

    def _bands(self) -> int:
        return 1 + (FBANK.num_mels - PATCH) // self.stride_mel


def build(
    name: str,
    read: None,
    *,
    stride_time: int = PATCH,
    stride_mel: int = PATCH,
    mask_padding: bool = False,
) -> LogmelEncoder:
    """The weightless encoder.

    Args:
        name: As in the registry.
        read: None; there are no weights.
        stride_time: Frames from one patch to the next, 1 ... 16.
        stride_mel: Mel bands from one patch to the next, 1 ... 16.
        mask_padding: Whether time steps without a real frame are masked.

    Raises:
        InputError: A stride is out of range.
    """
    del read
    for option, stride in {
        "stride_time": stride_time,
        "stride_mel": stride_mel,
    }.items():
        if not 1 <= stride <= PATCH:
            raise InputError(f"{option} must be 1 ... {PATCH}, not {stride}")
    return LogmelEncoder(
        name=name,
        description="log-mel patches, no weights",
        licence="none needed",
        weights="none",
        params={},
        mask_padding=mask_padding,
        stride_time=stride_time,
        stride_mel=stride_mel,
    )


@functools.cache
def _bands() -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each mel band, float32."""
    file = importlib.resources.files("unmute_jax.encoders").joinpath(
        "logmel_bands.json"
    )
    bands = json.loads(file.read_text("utf-8"))
    return np.array(bands["mean"], np.float32), np.array(bands["std"], np.float32)


def _windows(x: Array, axis: int, stride: int) -> Array:
    """Windows of `PATCH` along `axis`: the axis becomes (windows, cells)."""
    n = 1 + (x.shape[axis] - PATCH) // stride
    stop = (n - 1) * stride + 1

    def cells(offset: int) -> Array:
        cut = slice(offset, offset + stop, stride)
        return x[(slice(None),) * axis + (cut,)]

    return jnp.stack([cells(k) for k in range(PATCH)], axis=axis + 1)
