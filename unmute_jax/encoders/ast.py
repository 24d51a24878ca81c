"""AST, the audio spectrogram transformer (arXiv 2104.01778, Interspeech 2021).

Re-implemented from github.com/YuanGongND/ast, commit 31088be (BSD-3-Clause), with the
blocks of timm 0.4.5, and from transformers 5.24.0 (Apache-2.0). It was trained on the
labels of AudioSet: on those it is an upper reference, not a peer of self-supervised
encoders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unmute_jax.audio.kaldi import KaldiFbank
from unmute_jax.encoders.blocks import PreNormBlock, layer_norm
from unmute_jax.encoders.vit_encoder import Input, Recipe, VitEncoder
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.ops.interpolation import bilinear
from unmute_jax.weights.ast import SPECIAL, AstCheckpoints, Sizes
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.vit import PATCH

ORIGIN = Origin(
    title="AST",
    licence="BSD-3-Clause",
    citation="Gong et al., AST: Audio Spectrogram Transformer, Interspeech 2021, arXiv "
    "2104.01778",
    code="github.com/YuanGongND/ast, commit 31088be",
    checkpoints=AstCheckpoints(),
    published={(768, 12): ("base", 12)},
)


class AstNetwork(VitNetwork):
    """A ViT with overlapping patches and two special tokens, as in DeiT.

    Positions of patches are stored bands first; the tokens of this network are in the
    order of all others, time first.
    """

    block = PreNormBlock

    def setup(self) -> None:
        """Adds the distillation token and the last LayerNorm."""
        super().setup()
        shape = (self.sizes.width,)
        self.distillation = self.param("distillation", nn.initializers.zeros, shape)
        self.norm = layer_norm(self.epsilon)

    @property
    def stride(self) -> int:
        """Distance of the starts of two patches, in frames and in mel bands."""
        return cast(Sizes, self.sizes).stride

    @property
    def bands(self) -> int:
        """F, the number of patches over the mel bands."""
        return cast(Sizes, self.sizes).bands

    @property
    def max_steps(self) -> None:
        """None: the positions are fitted to any length."""

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "T F D"]:
        """The positions of `steps` time steps, as the reference makes them.

        Of more stored positions the middle ones are taken; fewer are interpolated
        linearly.
        """
        grid = rows.reshape(self.bands, -1, rows.shape[1]).swapaxes(0, 1)
        stored = len(grid)
        if steps > stored:
            return jnp.einsum("ts,sfd->tfd", bilinear(stored, steps), grid)
        start = stored // 2 - steps // 2
        return grid[start : start + steps]

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The two special tokens, then patch tokens, time-major, with positions."""
        x = self.patch_embed(_patches(spectrogram, self.stride))
        b, t, f, d = x.shape
        x = x + self.fit_positions(self.positions[SPECIAL:], t)[None]
        special = jnp.stack([self.cls, self.distillation]) + self.positions[:SPECIAL]
        first = jnp.broadcast_to(special[None], (b, SPECIAL, d))
        return jnp.concatenate([first, x.reshape(b, t * f, d)], axis=1)

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Applies the last LayerNorm."""
        return self.norm(x)

    def split(
        self, x: Float[Array, "B N D"]
    ) -> tuple[Float[Array, "B T F D"], Float[Array, "B D"]]:
        """Splits tokens into those of the patches and the mean of the special ones."""
        b, _, d = x.shape
        patches = x[:, SPECIAL:].reshape(b, -1, self.bands, d)
        return patches, x[:, :SPECIAL].mean(1)


def _patches(
    spectrogram: Float[Array, "B frames mels"], stride: int
) -> Float[Array, "B T F P"]:
    """Cuts overlapping square patches, pixels in (time, mel) order.

    A matrix product with them is the convolution of the reference. Frames and bands
    that fill no patch are dropped.
    """
    b, frames, mels = spectrogram.shape
    starts, inside = stride * np.arange(max(frames, mels)), np.arange(PATCH)
    times = np.add.outer(starts[: (frames - PATCH) // stride + 1], inside)
    bands = np.add.outer(starts[: (mels - PATCH) // stride + 1], inside)
    rows = spectrogram[:, times]
    t, f = len(times), len(bands)
    cut = rows[:, :, :, bands].transpose(0, 1, 3, 2, 4)
    return cut.reshape(b, t, f, PATCH * PATCH)


class AstEncoder(VitEncoder):
    """AST with one set of weights.

    The class token is the mean of the class token and the distillation token, which is
    what the head reads. By default clips are padded to the length that the positions
    are for; for another length the positions are cut or interpolated, which the authors
    meant as a start for fine-tuning.
    """

    version: ClassVar[int] = 1
    filters: ClassVar = KaldiFbank(num_mels=128, window="hann")
    networks: ClassVar = {"fitted": AstNetwork}
    recipes: ClassVar = {
        "audioset": Recipe(1024, Input(mean=-4.2677393, std=4.5689974)),
        "esc50": Recipe(512, Input(mean=-6.6268077, std=5.358466)),
        "speech_commands": Recipe(128, Input(mean=-6.845978, std=5.5654526)),
    }

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        recipe: str | None = None,
        length_policy: str = "pad",
        target_frames: int | None = None,
        mean: float | None = None,
        std: float | None = None,
        positions: str | None = None,
        mask_padding: bool = False,
    ) -> VitEncoder:
        """Makes an encoder, see `VitEncoder.build`.

        Args:
            name: The name in the registry.
            read: Reads the weights.
            recipe: One of `recipes`; None, that of the weights: "speech_commands" for
                positions of 128 frames, otherwise "audioset".
            length_policy: The policy for clips of other lengths.
            target_frames: Length of the input in frames; None, that of the recipe, or
                without one the length that the positions are for.
            mean: Mean of the log-mels.
            std: Standard deviation of the log-mels.
            positions: One of `networks`.
            mask_padding: Whether time steps without a real frame are masked.

        Raises:
            InputError: The recipe or the policy is unknown, or `read` fails.
        """
        weights = read()
        native = weights.sizes.frames
        if recipe is None:
            is_short = native == cls.recipes["speech_commands"].target_frames
            recipe = "speech_commands" if is_short else "audioset"
            target_frames = target_frames or native
        return super().build(
            name,
            lambda: weights,
            recipe=recipe,
            length_policy=length_policy,
            target_frames=target_frames,
            mean=mean,
            std=std,
            positions=positions,
            mask_padding=mask_padding,
        )

    @classmethod
    def network_options(cls, sizes: Any) -> dict[str, Any]:
        """Returns the epsilons, which differ between the layouts of files."""
        return {
            "epsilon": 10.0**-sizes.epsilon_digits,
            "head_epsilon": 10.0**-sizes.head_epsilon_digits,
        }


build = AstEncoder.build
