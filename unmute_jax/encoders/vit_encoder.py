"""Encoders that are a vision transformer over 16 x 16 patches of a Kaldi log-mel.

EAT, SSLAM, AudioMAE and ASiT share the filter bank, the patches and their order; each
has its own constants, network and checkpoints: its `vit_family.Family`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import KaldiFbank, kaldi_fbank, zero_behind
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.framing import Extent
from unmute_jax.encoders.spectrogram_encoder import (
    TOKENS_AT_ONCE,
    SpectrogramEncoder,
)
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.ops.chunked import map_in_chunks
from unmute_jax.tokens import Tokens
from unmute_jax.weights.vit import BANDS, PATCH

FBANK = KaldiFbank()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """How a log-mel becomes the network input.

    Attributes:
        mean: Of the log-mels of the data set.
        std: Of the same.
        padding: What lies behind a clip: "zeros" in place of its log-mels, as in all
            fine-tuning, or the log-mels of "silence".
    """

    mean: float
    std: float
    padding: Literal["zeros", "silence"] = "zeros"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VitEncoder(SpectrogramEncoder):
    """A ViT with one set of weights.

    Attributes:
        network: The flax module.
        input: Padding and normalisation of the spectrogram.
        positions: How stored positions become those of another length.
    """

    sample_rate = FBANK.sample_rate
    min_samples = FBANK.min_samples

    network: VitNetwork
    input: Input
    positions: str

    @property
    def num_features(self) -> int:
        """D."""
        return self.network.sizes.width

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """16 mel bands each."""
        return FBANK.patch_edges_hz(PATCH, PATCH)

    @property
    def max_steps(self) -> int | None:
        """Those that there are positions for."""
        return self.network.max_steps

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end."""
        padding = self.input.padding
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "fbank": dataclasses.asdict(FBANK),
            "input": {
                "target_frames": self.framing.target_frames,
                "mean": self.input.mean,
                "std": self.input.std,
                **({"padding": padding} if padding != "zeros" else {}),
            },
            "positions": self.positions,
        }

    def identity(self) -> dict[str, Any]:
        """See `Encoder`; `input` says all of the usual policy, as it always did."""
        full = super().identity()
        if self.framing.policy == "pad":
            del full["lengths"]
        return full

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Log-mels, padded, then normalised: `(x - mean) / (2 std)`."""
        del params
        logmel = kaldi_fbank(waveform, FBANK)
        if self.input.padding == "zeros":
            logmel = zero_behind(logmel, FBANK.real_frames(lengths))
        return (logmel - self.input.mean) / (2 * self.input.std)

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The feature of the network, and the output of every block on request."""
        b, frames, _ = spectrogram.shape
        t = frames // PATCH

        def run(params: Params, spectrogram: Array) -> tuple[list[Array], Array]:
            variables = {"params": params}
            encoded = self.network.apply(variables, spectrogram, method="encode")
            layers, last = cast(tuple[list[Array], Array], encoded)
            return layers if all_layers else [], last

        layers, last = map_in_chunks(
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
