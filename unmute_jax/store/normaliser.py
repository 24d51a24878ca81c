"""Normalises what a probe reads, with statistics of the training split alone.

The paper does not do this. In small experiments it moved the score of `linear` by 1 to
4 points, so it is an option that is off by default and named in the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Summary, Tokens

# A constant feature becomes zero; a smaller bound would blow up its rounding errors.
MIN_SD = 1e-6
# Clips whose deviations from the mean are in memory as float64 at one time.
CLIPS_PER_CHUNK = 1024


@dataclass(frozen=True)
class FeatureNormaliser:
    """Subtracts the training mean of every feature and divides by its deviation.

    Attributes:
        summary_mean: Means of the clips' summaries, a leading axis of 1 on each array.
        summary_sd: Standard deviations of the clips' summaries, shaped likewise.
        token_mean: Means over all real tokens, shape `[D]`.
        token_sd: Standard deviations over all real tokens, shape `[D]`.
    """

    summary_mean: Summary
    summary_sd: Summary
    token_mean: Float[np.ndarray, "D"]
    token_sd: Float[np.ndarray, "D"]

    @classmethod
    def fit(cls, train: Sequence[TokenStore]) -> FeatureNormaliser:
        """Computes the statistics of all clips in `train`."""
        summaries = _map(
            lambda *xs: np.concatenate(xs), *(store.summary() for store in train)
        )
        steps = np.concatenate([np.asarray(store.mask).sum(1) for store in train])
        share = (steps / steps.sum())[:, None]
        mean = (share * summaries.mean).sum(0)
        # The variance within clips plus that between their means. The difference of
        # the mean square and the squared mean would lose a small deviation from a
        # large mean.
        spread = np.square(summaries.std, dtype=np.float64)
        variance = (share * (spread + np.square(summaries.mean - mean))).sum(0)
        return cls(
            summary_mean=_map(lambda x: _mean_and_sd(x)[0], summaries),
            summary_sd=_map(lambda x: _mean_and_sd(x)[1], summaries),
            token_mean=mean.astype(np.float32),
            token_sd=np.maximum(np.sqrt(variance), MIN_SD).astype(np.float32),
        )

    @classmethod
    def of_tokens(
        cls, mean: Float[np.ndarray, "D"], sd: Float[np.ndarray, "D"]
    ) -> FeatureNormaliser:
        """A normaliser that changes tokens and leaves summaries as they are."""

        def constant(value: float) -> Summary:
            vector, bands = (
                np.full((1,) * axes + mean.shape, value, np.float32) for axes in (1, 2)
            )
            return Summary(
                cls=vector,
                mean=vector,
                max=vector,
                std=vector,
                band_mean=bands,
                band_max=bands,
                band_std=bands,
            )

        return cls(constant(0.0), constant(1.0), mean, sd)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> FeatureNormaliser:
        """Restores a normaliser from the result of `dataclasses.asdict`."""
        return cls(
            summary_mean=Summary(**arrays["summary_mean"]),
            summary_sd=Summary(**arrays["summary_sd"]),
            token_mean=arrays["token_mean"],
            token_sd=arrays["token_sd"],
        )

    def apply(self, inputs: Tokens | Summary) -> Tokens | Summary:
        """Normalises host arrays. Patches keep their type, except int8 ones."""
        if isinstance(inputs, Summary):
            return _map(
                lambda x, m, s: (x - m) / s,
                inputs,
                self.summary_mean,
                self.summary_sd,
            )
        tokens = jax.device_get(inputs.floats())
        raw = np.asarray(tokens.patches)
        x = (raw.astype(np.float32) - self.token_mean) / self.token_sd
        stored = x.astype(raw.dtype)
        norms = np.linalg.norm(stored.astype(np.float32), axis=-1)
        return dataclasses.replace(
            tokens,
            patches=stored,
            cls=(tokens.cls - self.summary_mean.cls) / self.summary_sd.cls,
            inverse_norms=(1.0 / np.maximum(norms, NORM_EPS)).astype(np.float32),
        )


def _mean_and_sd(
    x: Float[np.ndarray, "n *F D"],
) -> tuple[Float[np.ndarray, "1 *F D"], Float[np.ndarray, "1 *F D"]]:
    """Mean and standard deviation over clips, summed in float64."""
    mean = x.mean(0, keepdims=True, dtype=np.float64)
    chunks = (x[i : i + CLIPS_PER_CHUNK] for i in range(0, len(x), CLIPS_PER_CHUNK))
    squares = sum(np.square(chunk - mean).sum(0, keepdims=True) for chunk in chunks)
    sd = np.maximum(np.sqrt(squares / len(x)), MIN_SD)
    return mean.astype(np.float32), sd.astype(np.float32)


def _map(function: Callable[..., np.ndarray], *summaries: Summary) -> Summary:
    """Applies a function to the arrays of the same name in some summaries."""
    names = [f.name for f in dataclasses.fields(Summary)]
    return Summary(
        **{n: function(*(np.asarray(getattr(s, n)) for s in summaries)) for n in names}
    )
