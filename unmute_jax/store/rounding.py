"""Measures how much of what tells clips apart is lost when tokens are rounded.

Where features are large but hardly differ from clip to clip, the few digits of bfloat16
or int8 hold what all clips have in common, and probes are left with noise. The measure
is the variance of the rounding error as a share of the variance of the exact tokens.
Both are variances between clips at the same place, because neither what all clips have
in common nor an error that is the same for all of them tells clips apart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from unmute_jax.encoders import Encoder, Source
from unmute_jax.encoders.precision import is_in_bfloat16, with_float32_products
from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder
from unmute_jax.store.key import LAST, Kept
from unmute_jax.tokens import Tokens, round_to

# A loss above this share is worth a warning. Features of `logmel` that lose 0.08 cost
# `protobin` nothing on `esc_mix`. With 0.18 they cost 1.2 mAP, and with everything lost
# 10 to 16 (`experiments.benchmarks.large_features`). Real weights (Whisper base) lose
# less than 0.001 in bfloat16 and 0.004 in int8.
LIMIT = 0.1
# Number of clips that are compared, and of batches after which nothing more is tried:
# silent clips have equal tokens.
CLIPS, TRIES = 8, 4
# A spread below this share of the values is the rounding of float32.
_FLOAT32 = 1e-6
_log = logging.getLogger(__name__)


class Loss(NamedTuple):
    """What rounding costs.

    Attributes:
        cause: The values that are rounded, and the type.
        share: Share of the variance between clips that is lost, see `lost_variance`.
        remedy: The setting that avoids it.
    """

    cause: str
    share: float
    remedy: str

    @property
    def is_large(self) -> bool:
        """Whether scores may suffer."""
        return self.share > LIMIT

    def __str__(self) -> str:
        return f"{self.cause} loses {_percent(self.share)} of what tells clips apart"


class RoundingCheck:
    """Warns if rounding costs too much, as measured on the first clips of a pass."""

    def __init__(self, encoder: Source, dtype: str, kept: Kept = LAST):
        """Prepares the check.

        Args:
            encoder: The encoder of the pass, or exported tokens.
            dtype: Type in which tokens are stored.
            kept: Layers whose tokens are stored.
        """
        self._encoder, self._dtype, self._kept = encoder, dtype, kept
        self._tries = TRIES

    def __call__(
        self,
        tokens: Tokens,
        clips: int,
        inputs: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Measures the loss on a batch unless that has been done.

        Args:
            tokens: Tokens of the batch.
            clips: Number of clips in it; what lies behind them is padding.
            inputs: Waveforms and their lengths in samples; None for exported tokens.
        """
        if not self._tries:
            return
        n = min(clips, CLIPS)
        first = inputs and (inputs[0][:n], inputs[1][:n])
        few = _first(tokens, n)
        losses = [storage_loss(few, self._dtype, self._kept)]
        if first and isinstance(self._encoder, Encoder):
            losses.append(products_loss(self._encoder, *first, few, self._kept))
        found = [loss for loss in losses if loss is not None]
        is_unknown = any(np.isnan(loss.share) for loss in found)
        self._tries = self._tries - 1 if is_unknown else 0
        for loss in found:
            if loss.is_large:
                _log.warning(
                    "%s: %s (variance of the median feature, %d clips): use %s",
                    *(self._encoder.name, loss, n, loss.remedy),
                )


def storage_loss(tokens: Tokens, dtype: str, kept: Kept = LAST) -> Loss | None:
    """Measures what storing tokens costs; None if they are stored as they are.

    Args:
        tokens: Tokens in float32.
        dtype: Type in which they are to be stored.
        kept: Layers whose tokens are to be stored.
    """
    if dtype == "float32":
        return None
    mask = np.asarray(tokens.mask)[:, :, None]
    shares = [
        lost_variance(x, np.asarray(round_to(x, dtype), np.float32), mask)
        for x in _stored(tokens, kept)
    ]
    remedy = {"int8": "bfloat16", "bfloat16": "float32"}[dtype]
    return Loss(
        f"storing tokens in {dtype}", _worst(shares), f"config.tokens.dtype={remedy}"
    )


def products_loss(
    encoder: Encoder,
    waveform: Float[np.ndarray, "B S"],
    lengths: Int[np.ndarray, "B"],
    tokens: Tokens,
    kept: Kept = LAST,
) -> Loss | None:
    """Measures what products in bfloat16 cost; None if they are float32.

    Args:
        encoder: The encoder.
        waveform: Inputs of the encoder.
        lengths: Number of samples of each clip.
        tokens: The encoder's tokens of the same clips.
        kept: Layers whose tokens count.
    """
    if not isinstance(encoder, SpectrogramEncoder) or not is_in_bfloat16(encoder):
        return None
    exact = with_float32_products(encoder)
    wanted = exact(waveform, lengths, all_layers=kept.needs_layers)
    mask = np.asarray(tokens.mask)[:, :, None]
    shares = [
        lost_variance(x, y, mask)
        for x, y in zip(_stored(wanted, kept), _stored(tokens, kept), strict=True)
    ]
    remedy = "config.encoder_options.precision=float32"
    return Loss("multiplying in bfloat16", _worst(shares), remedy)


def lost_variance(
    exact: Float[np.ndarray, "B T F D"],
    rounded: Float[np.ndarray, "B T F D"],
    mask: Bool[np.ndarray, "B T 1"],
) -> float:
    """Computes the share of the variance between clips that rounding has replaced.

    Args:
        exact: Exact tokens.
        rounded: The same tokens after rounding.
        mask: Mask of real time steps.

    Returns:
        The variance of the error divided by that of the exact tokens, at most 1, for
        the median feature. Of a single clip, the variance is that between its tokens.
        NaN if all tokens are the same.
    """
    b, t, f, d = exact.shape
    real = np.broadcast_to(mask, (b, t, f)).reshape(b, -1, 1)
    x, y = (np.asarray(a, np.float64).reshape(b, -1, d) for a in (exact, rounded))
    if b == 1:
        x, y, real = (a.swapaxes(0, 1) for a in (x, y, real))
    # Tokens that are not finite are refused elsewhere, with the name of the clip.
    with np.errstate(invalid="ignore"):
        signal, noise = _variance(x, real), _variance(y - x, real)
        size = np.where(real, np.square(x), 0.0).mean((0, 1))
    differs = signal > _FLOAT32**2 * size
    if not differs.any():
        return float("nan")
    return float(np.median(np.minimum(1.0, noise[differs] / signal[differs])))


def _percent(share: float) -> str:
    """Formats a share with two significant digits."""
    if np.isnan(share):
        return "an unknown part"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _variance(x: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The variance of each feature over the first axis, averaged over the second."""
    count = real.sum(0)
    mean = np.where(real, x, 0.0).sum(0) / np.maximum(count, 1)
    squares = np.where(real, np.square(x - mean), 0.0).sum((0, 1))
    return squares / max(np.maximum(count - 1, 0).sum(), 1)


def _stored(tokens: Tokens, kept: Kept) -> Iterator[np.ndarray]:
    """The patches that a store keeps, of each layer, as float32 arrays."""
    main = tokens if kept.layer is None else tokens.of_layer(kept.layer)
    yield np.asarray(main.patches, np.float32)
    if kept.layers and tokens.layers is not None:
        yield from np.moveaxis(np.asarray(tokens.layers, np.float32), 1, 0)


def _first(tokens: Tokens, clips: int) -> Tokens:
    """The tokens of the first clips."""
    return jax.tree.map(lambda x: x[:clips], tokens)


def _worst(shares: list[float]) -> float:
    """The largest share; NaN if any is unknown."""
    return float(np.max(shares))
