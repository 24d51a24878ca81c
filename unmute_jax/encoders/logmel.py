"""Implements an encoder without weights: patches of the log-mel spectrogram.

It is the baseline of every table: what a probe reaches without any learnt feature.
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

from unmute_jax.audio.kaldi import KaldiFbank, kaldi_fbank, zero_behind
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder, mean_tokens
from unmute_jax.errors import InputError
from unmute_jax.tokens import Tokens

PATCH = 16
ORIGIN = None  # There are no weights.


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LogmelEncoder(SpectrogramEncoder):
    """Flattened 16 x 16 patches of standardised log-mels, D = 256.

    Every mel band is standardised with constants of the package; the file
    `logmel_bands.json` says how they were measured. Frames behind the end of a clip are
    zero, so that patches of them match nothing. `cls` is the mean of the patches.

    Attributes:
        stride_time: Frames from one patch to the next; patches overlap if it is < 16.
        stride_mel: Mel bands from one patch to the next; they overlap if it is < 16.
    """

    version: ClassVar[int] = 1
    filters: ClassVar[KaldiFbank] = KaldiFbank(num_mels=128, window="hann")

    stride_time: int
    stride_mel: int

    @property
    def num_features(self) -> int:
        """D, the number of cells of a patch."""
        return PATCH * PATCH

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, 16 mel bands each."""
        return self.filters.patch_edges_hz(PATCH, self.stride_mel)

    def details(self) -> dict[str, Any]:
        """Strides, constants and filter bank."""
        mean, std = _bands()
        return {
            "strides": [self.stride_time, self.stride_mel],
            "bands": {"mean": mean.tolist(), "std": std.tolist()},
            "fbank": dataclasses.asdict(self.filters),
        }

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Computes standardised log-mels, zero behind the end of each clip."""
        mean, std = _bands()
        logmel = kaldi_fbank(waveform, self.filters)
        standardised = (logmel - mean[None, None]) / std[None, None]
        return zero_behind(standardised, self.filters.real_frames(lengths))

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The patches, which are the only layer on request."""
        rows = _cut_patches(spectrogram, 1, self.stride_time)
        cells = _cut_patches(rows, 3, self.stride_mel)  # [B, T, time, F, mel]
        b, t, _, f, _ = cells.shape
        patches = cells.swapaxes(2, 3).reshape(b, t, f, PATCH * PATCH)
        mask = self.token_mask(extent, (b, t, f))
        return mean_tokens(patches, mask, [patches] if all_layers else None)


def build(
    name: str,
    *,
    stride_time: int = PATCH,
    stride_mel: int = PATCH,
    length_policy: str = "pad",
    target_frames: int | None = None,
    mask_padding: bool = False,
) -> LogmelEncoder:
    """Makes the encoder.

    Args:
        name: The name in the registry.
        stride_time: Frames from one patch to the next, 1 to 16.
        stride_mel: Mel bands from one patch to the next, 1 to 16.
        length_policy: The policy for clips of different lengths, see `framing`.
        target_frames: Length of the input in frames, of which 100 are a second; None,
            the length of the longest clip.
        mask_padding: Whether time steps without a real frame are masked.

    Raises:
        InputError: A stride is out of range, or the policy is unknown.
    """
    strides = {"stride_time": stride_time, "stride_mel": stride_mel}
    for option, stride in strides.items():
        if not 1 <= stride <= PATCH:
            raise InputError(f"{option} must be 1 to {PATCH}, not {stride}")
    framing = Framing(
        filters=LogmelEncoder.filters,
        patch_frames=PATCH,
        frames_per_step=stride_time,
        policy=length_policy,
        target_frames=target_frames,
    )
    return LogmelEncoder(
        name=name,
        description="log-mel patches, no weights",
        licence="none needed",
        weights="none",
        params={},
        network=None,
        framing=framing,
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


def _cut_patches(x: Array, axis: int, stride: int) -> Array:
    """Cuts patches along `axis`, which becomes (patches, cells)."""
    n = 1 + (x.shape[axis] - PATCH) // stride
    stop = (n - 1) * stride + 1

    def cells(offset: int) -> Array:
        cut = slice(offset, offset + stop, stride)
        return x[(slice(None),) * axis + (cut,)]

    return jnp.stack([cells(k) for k in range(PATCH)], axis=axis + 1)
