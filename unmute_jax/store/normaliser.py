"""Standardising what a probe reads, with statistics of the training split alone.

Not part of the paper; in small experiments it moved `linear` by 1-4 points, so it is an
option that is off by default and named in the results.
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

# A channel that never moves is left at zero, not blown up.
LEAST_SD = 1e-6


@dataclass(frozen=True)
class FeatureNormaliser:
    """Means and standard deviations over the training clips.

    Attributes:
        summary_mean: Per statistic `[1, D]`; likewise `summary_sd`.
        token_mean: `[D]` over all real tokens; likewise `token_sd`.
    """

    summary_mean: Summary
    summary_sd: Summary
    token_mean: Float[np.ndarray, "D"]
    token_sd: Float[np.ndarray, "D"]

    @classmethod
    def fit(cls, train: Sequence[TokenStore]) -> FeatureNormaliser:
        """The statistics of the clips in `train`."""
        summaries = [s.summary() for s in train]
        steps = np.concatenate([np.asarray(s.mask).sum(1) for s in train])
        share = (steps / steps.sum()).astype(np.float32)[:, None]
        joined = _over(lambda *xs: np.concatenate(xs), *summaries)
        mean = (share * joined.mean).sum(0)
        square = (share * (np.square(joined.std) + np.square(joined.mean))).sum(0)
        return cls(
            summary_mean=_over(lambda x: x.mean(0, keepdims=True), joined),
            summary_sd=_over(
                lambda x: np.maximum(x.std(0, keepdims=True), LEAST_SD), joined
            ),
            token_mean=mean,
            token_sd=np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), LEAST_SD),
        )

    @classmethod
    def of_tokens(
        cls, mean: Float[np.ndarray, "D"], sd: Float[np.ndarray, "D"]
    ) -> FeatureNormaliser:
        """One that changes the tokens and leaves their summary as it is."""

        def everywhere(value: float) -> Summary:
            flat, bands = (
                np.full((1,) * axes + mean.shape, value, np.float32) for axes in (1, 2)
            )
            return Summary(
                cls=flat,
                mean=flat,
                max=flat,
                std=flat,
                band_mean=bands,
                band_max=bands,
                band_std=bands,
            )

        return cls(everywhere(0.0), everywhere(1.0), mean, sd)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> FeatureNormaliser:
        """The way back from `dataclasses.asdict`."""
        return cls(
            summary_mean=Summary(**arrays["summary_mean"]),
            summary_sd=Summary(**arrays["summary_sd"]),
            token_mean=arrays["token_mean"],
            token_sd=arrays["token_sd"],
        )

    def apply(self, inputs: Tokens | Summary) -> Tokens | Summary:
        """`inputs` (host arrays) standardised; tokens keep their type, but for int8."""
        if isinstance(inputs, Summary):
            return _over(
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


def _over(function: Callable[..., np.ndarray], *summaries: Summary) -> Summary:
    names = [f.name for f in dataclasses.fields(Summary)]
    return Summary(
        **{n: function(*(np.asarray(getattr(s, n)) for s in summaries)) for n in names}
    )
