"""ASiT, the local-global audio spectrogram vision transformer (arXiv 2211.13189).

Re-implemented from github.com/Sara-Ahmed/ASiT, commit of 2024-03-10. The repository
states no licence, and nor do the weights.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unmute_jax.encoders.vit_encoder import Input, VitEncoder
from unmute_jax.encoders.vit_family import PUBLISHED_SIZES, Family
from unmute_jax.encoders.vit_family import build as build_family
from unmute_jax.encoders.vit_network import PreNormVit
from unmute_jax.weights import asit as checkpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

# The reference has one pair of constants. It was pre-trained on 592 frames and resizes
# its positions to any other number; for clips of 10 s those who use it pad to 1024
# frames, or take the 998 that there are (`target_frames=998`).
RECIPES = {
    "audioset": Input(target_frames=1024, mean=-4.2677393, std=4.5689974),
    "pretraining": Input(target_frames=592, mean=-4.2677393, std=4.5689974),
}
# Of the cubic convolution in PyTorch; that of `jax.image.resize` is -0.5.
CUBIC = -0.75


class AsitNetwork(PreNormVit):
    """A ViT with learnt positions, resized along time to the input."""

    @property
    def max_steps(self) -> None:
        """The positions stretch to any length."""

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The positions of `steps` time steps, by bicubic interpolation.

        The bands stay as they are, so only time takes part; as many steps as there are
        stored come out unchanged.
        """
        grid = rows.reshape(-1, BANDS, rows.shape[1])
        weights = bicubic(len(grid), steps)
        return jnp.einsum("ts,sfd->tfd", weights, grid).reshape(-1, rows.shape[1])


def bicubic(before: int, after: int) -> np.ndarray:
    """`[after, before]` float32: weights of `torch.nn.functional.interpolate`.

    Mode "bicubic" along one axis with align_corners and antialias false: four taps
    around each point, the outermost samples repeated beyond the ends.
    """
    points = (np.arange(after) + 0.5) * before / after - 0.5
    weights = np.zeros((after, before))
    for tap in (-1, 0, 1, 2):
        sample = np.floor(points).astype(int) + tap
        inside = np.clip(sample, 0, before - 1)
        np.add.at(weights, (np.arange(after), inside), _cubic(points - sample))
    return weights.astype(np.float32)


def _cubic(offset: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel of Keys with a = `CUBIC`, up to 2 samples away."""
    x, a = np.abs(offset), CUBIC
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)


class AsitEncoder(VitEncoder):
    """ASiT with one set of weights: the teacher, after its last LayerNorm."""

    version: ClassVar[int] = 1


ORIGIN = Origin(
    title="ASiT",
    licence="none stated by the authors",
    checkpoints=checkpoints,
    published=PUBLISHED_SIZES,
)

FAMILY = Family(encoder=AsitEncoder, network=AsitNetwork, recipes=RECIPES)

build = functools.partial(build_family, FAMILY)
