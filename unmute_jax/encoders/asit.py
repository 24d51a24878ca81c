"""ASiT, the local-global audio spectrogram vision transformer (arXiv 2211.13189).

Re-implemented from github.com/Sara-Ahmed/ASiT, commit of 2024-03-10. The repository
states no licence for the code and none for the weights.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unmute_jax.audio.kaldi import KaldiFbank
from unmute_jax.encoders.vit_encoder import PUBLISHED_SIZES, Input, Recipe, VitEncoder
from unmute_jax.encoders.vit_network import PreNormVit
from unmute_jax.ops.interpolation import bicubic, bilinear
from unmute_jax.weights.asit import AsitCheckpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

ORIGIN = Origin(
    title="ASiT",
    licence="none stated by the authors",
    citation="Atito et al., ASiT: Local-Global Audio Spectrogram vIsion Transformer "
    "for Event Classification, arXiv 2211.13189",
    code="github.com/Sara-Ahmed/ASiT, commit of 2024-03-10",
    checkpoints=AsitCheckpoints(),
    published=PUBLISHED_SIZES,
)


class AsitNetwork(PreNormVit):
    """A ViT with learnt positions, resized along time as the authors do it."""

    @property
    def max_steps(self) -> None:
        """None: the positions are resized to any length."""

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The positions of `steps` time steps, by bicubic interpolation.

        Only the time axis is resized, because the number of bands is fixed. With as
        many steps as are stored, the positions stay as they are.
        """
        grid = rows.reshape(-1, BANDS, rows.shape[1])
        return _resized(grid, bicubic(len(grid), steps))


class SwappedAsitNetwork(AsitNetwork):
    """The network whose positions are read as bands by time before they are resized.

    The public code behind supervised weights that third parties have published does
    this. That code compares frames to decide whether to resize; here whole time steps
    are compared.
    """

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The positions of `steps` time steps, both axes by bicubic interpolation."""
        stored = len(rows) // BANDS
        if steps == stored:
            return rows
        grid = rows.reshape(BANDS, stored, rows.shape[1])
        across = jnp.einsum("gf,sfd->sgd", bicubic(stored, BANDS), grid)
        return _resized(across, bicubic(BANDS, steps))


class AstAsitNetwork(AsitNetwork):
    """The network whose positions are cut or resized as those of AST.

    AST (arXiv 2104.01778) and the fine-tuning code of ASiT-CRNN do this.
    """

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The middle `steps` stored positions; more by bilinear interpolation."""
        grid = rows.reshape(-1, BANDS, rows.shape[1])
        stored = len(grid)
        if steps > stored:
            return _resized(grid, bilinear(stored, steps))
        start = stored // 2 - steps // 2
        return grid[start : start + steps].reshape(-1, rows.shape[1])


def _resized(grid: Array, weights: np.ndarray) -> Array:
    """`[T, F, D]` resized along time, as rows."""
    return jnp.einsum("ts,sfd->tfd", weights, grid).reshape(-1, grid.shape[2])


class AsitEncoder(VitEncoder):
    """ASiT with one set of weights: the teacher, after its last LayerNorm.

    The reference has one pair of constants. It was pre-trained on 592 frames of clips
    padded with silence, and resizes its positions to any other number of frames. For
    clips of 10 s its users pad to 1024 frames, or take the 998 frames that there are
    (`length_policy="crop"`).
    """

    version: ClassVar[int] = 1
    filters: ClassVar = KaldiFbank(num_mels=128, window="hann")
    networks: ClassVar = {
        "bicubic": AsitNetwork,
        "swapped": SwappedAsitNetwork,
        "ast": AstAsitNetwork,
    }
    recipes: ClassVar = {
        "audioset": Recipe(1024, Input(mean=-4.2677393, std=4.5689974)),
        "pretraining": Recipe(
            592, Input(mean=-4.2677393, std=4.5689974, padding="silence")
        ),
    }


build = AsitEncoder.build
