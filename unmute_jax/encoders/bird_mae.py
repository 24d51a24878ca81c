"""Bird-MAE, masked autoencoders for bird sounds (arXiv 2504.12880, TMLR 2025).

Re-implemented from github.com/DBD-research-group/Bird-MAE, commit a514ef5. The
repository states no licence for the code and none for the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, cast

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import KaldiFbank, kaldi_fbank
from unmute_jax.encoders.audiomae import AudioMaeNetwork
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.blocks import layer_norm
from unmute_jax.encoders.framing import Framing
from unmute_jax.encoders.vit_encoder import Input, Recipe, VitEncoder
from unmute_jax.errors import InputError
from unmute_jax.tokens import Tokens
from unmute_jax.weights.bird_mae import PUBLISHED_SIZES, STEPS, BirdMaeCheckpoints
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.vit import PATCH

ORIGIN = Origin(
    title="Bird-MAE",
    licence="none stated by the authors",
    citation="Rauch et al., Can Masked Autoencoders Also Listen to Birds?, TMLR 2025, "
    "arXiv 2504.12880",
    code="github.com/DBD-research-group/Bird-MAE, commit a514ef5",
    checkpoints=BirdMaeCheckpoints(),
    published=PUBLISHED_SIZES,
)
FRAMES = STEPS * PATCH
HEARD = 160_000  # samples, which are 5 s


class BirdMaeNetwork(AudioMaeNetwork):
    """The network of AudioMAE with both last LayerNorms, whatever the training."""

    def setup(self) -> None:
        """Adds the LayerNorm that AudioMAE lacks."""
        super().setup()
        if self.sizes.classes is None:
            self.fc_norm = layer_norm(self.head_epsilon)
        else:
            self.norm = layer_norm(self.epsilon)

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Applies the last LayerNorm of the pre-training."""
        return self.norm(x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FiveSeconds(Framing):
    """Inputs of 5 s, or windows without a gap.

    The network takes 512 frames, which are 5.12 s. The reference hears 5 s, and fills
    the rest with rows of padding.
    """

    def input_samples(self, samples: int) -> int:
        """Length of the input for clips of up to `samples` samples."""
        whole = super().input_samples(samples)
        return whole if self.policy == "window" else min(whole, HEARD)


class BirdMaeEncoder(VitEncoder):
    """Bird-MAE with one set of weights: the first 5 s of a clip at 32 kHz.

    The head of fine-tuned weights reads the mean patch token of the last block before
    its LayerNorm. `length_policy="window"` encodes windows of 5.12 s, so that every
    time step has the same length; the reference has no rule for longer clips.
    """

    version: ClassVar[int] = 1
    filters: ClassVar = KaldiFbank(
        num_mels=128,
        window="hann",
        high_hz=16000.0,
        sample_rate=32000,
        frame_length=800,
        frame_shift=320,
        fft_size=1024,
    )
    networks: ClassVar = {"stored": BirdMaeNetwork}
    recipes: ClassVar = {
        "birdset": Recipe(FRAMES, Input(mean=-7.2, std=4.43, padding="minimum"))
    }

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of clips of up to `clip_seconds`."""
        steps, bands = super().grid(clip_seconds)
        return (steps if self.framing.policy == "window" else STEPS), bands

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes log-mels, adds rows of their minimum, and normalises.

        The minimum is that of the clip. The reference takes that of the batch, which is
        the same wherever any clip has a silent frame.
        """
        logmel = kaldi_fbank(waveform, self.filters)
        b, frames, mels = logmel.shape
        if (missing := FRAMES - frames) > 0:
            lowest = logmel.min((1, 2), keepdims=True)
            rows = jnp.broadcast_to(lowest, (b, missing, mels))
            logmel = jnp.concatenate([logmel, rows], axis=1)
        return (logmel - self.input.mean) / (2 * self.input.std)

    def head_input(self, tokens: Tokens) -> Float[Array, "B D"]:
        """The mean patch token of the last block, before the LayerNorm.

        Raises:
            InputError: The tokens lack those of all layers.
        """
        if tokens.layers is None:
            raise InputError(
                f"the head of {self.name} reads the last block before its LayerNorm: "
                "encode with all_layers=True"
            )
        return jnp.asarray(tokens.layers)[:, -1].mean((1, 2))


def build(
    name: str,
    read: Callable[[], EncoderWeights],
    *,
    length_policy: str = "pad",
    mean: float | None = None,
    std: float | None = None,
    mask_padding: bool = False,
) -> BirdMaeEncoder:
    """Makes an encoder with the weights that `read` returns.

    Args:
        name: The name in the registry.
        read: Reads the weights; called once the options are valid.
        length_policy: The policy for clips of other lengths, see `framing`. The
            reference always pads or cuts.
        mean: Mean of the log-mels; None, that of the reference.
        std: Standard deviation of the log-mels; None, that of the reference.
        mask_padding: Whether time steps without a real frame are masked.

    Raises:
        InputError: The policy is unknown, or `read` fails.
    """
    made = BirdMaeEncoder.build(
        name,
        read,
        length_policy=length_policy,
        mean=mean,
        std=std,
        mask_padding=mask_padding,
    )
    fields = dataclasses.fields(Framing)
    framing = {field.name: getattr(made.framing, field.name) for field in fields}
    return cast(
        BirdMaeEncoder, dataclasses.replace(made, framing=FiveSeconds(**framing))
    )
