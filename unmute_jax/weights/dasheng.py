"""Checkpoints of Dasheng, pre-trained or fine-tuned.

Three layouts hold the same tensors: under "model" beside the arguments of the class;
flat, with the head of the fine-tuned file; and on Hugging Face, where every name begins
with `encoder.` and the front end is left out. The canonical names are those of the
first.

Source: github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmute_jax.audio.mel import MelDecibels, mel_banks, window
from unmute_jax.errors import InputError
from unmute_jax.ops.interpolation import bilinear
from unmute_jax.weights.checkpoints import Checkpoints, Sizes
from unmute_jax.weights.contents import (
    EncoderTensors,
    count_blocks,
    select,
    size_of,
    state_dict,
    stated_int,
)
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes
from unmute_jax.weights.vit import BLOCK_RULES, BLOCKS, block_shapes

MEL = MelDecibels(
    num_mels=64,
    high_hz=8000.0,
    sample_rate=16000,
    fft_size=512,
    frame_shift=160,
    floor=1e-10,
    range_db=120.0,
)
FRAMES = 4  # of a patch, which spans all mel bands
PIECE = 252  # tokens that attend to each other: 10.08 s

# (width, depth) of the published models -> (name, attention heads).
PUBLISHED_SIZES = {
    (768, 12): ("base", 12),
    (1280, 32): ("0.6B", 16),
    (1536, 40): ("1.2B", 24),
}

_IGNORED = {"init_bn.1.num_batches_tracked": "a counter of the training"}
# Numbers in a table that is made longer; that of 1.2B has 0.4 million.
_MAX_POSITIONS = 1 << 26
# Half precision rounds by less; another window or mel scale differs by far more.
_BUFFER_ATOL = 5e-3


def _positions(time: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """The sum of both tables, `[tokens, D]`."""
    total = time.astype(np.float32) + frequency.astype(np.float32)
    return total[0, :, 0].T


class DashengCheckpoints(Checkpoints):
    """Checkpoints of Dasheng; `Sizes.positions` are the tokens of a piece."""

    base_positions = PIECE
    rules = (
        Rule(
            "time_pos_embed",
            "positions",
            others=("freq_pos_embed",),
            make=_positions,
        ),
        Rule(r"init_bn\.1\.(weight|bias)", r"input_norm.\1"),
        Rule(r"init_bn\.1\.running_mean", "input_norm.mean", make=np.asarray),
        Rule(r"init_bn\.1\.running_var", "input_norm.var", make=np.asarray),
        # Patches are (time, mel) here, (mel, time) there.
        Rule(
            r"patch_embed\.proj\.weight",
            "patch_embed.weight",
            make=lambda x: x.swapaxes(2, 3).reshape(len(x), -1),
        ),
        Rule(r"patch_embed\.proj\.bias", "patch_embed.bias"),
        *BLOCK_RULES,
        Rule(r"norm\.(weight|bias)", r"norm.\1"),
        Rule(r"outputlayer\.0\.(weight|bias)", r"head_norm.\1"),
        Rule(r"outputlayer\.1\.(weight|bias)", r"head.\1"),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of any layout.

        The front end is computed by this library, but that of the file must be equal.

        Raises:
            InputError: The file holds no state dict of tensors, or the buffers of
                another front end.
        """
        state = state_dict(content, source)
        is_hub = any(name.startswith("encoder.") for name in state.tensors)
        found = select(
            state,
            layout="Hugging Face" if is_hub else "the authors' package",
            ignored=_IGNORED,
            rename=lambda name: name.removeprefix("encoder."),
        )
        buffers = {
            "front_end.0.spectrogram.window": window(MEL),
            # The last row is of the Nyquist bin, which has no weight and is not here.
            "front_end.0.mel_scale.fb": mel_banks(MEL),
        }
        for name, ours in buffers.items():
            if name in found.tensors:
                _check_buffer(name, found.tensors.pop(name), ours, source)
                found.ignored[name] = "computed here, and the same"
        if "time_pos_embed" in found.tensors:
            table = found.tensors["time_pos_embed"]
            frames = _stated(found, "target_length")
            found.tensors["time_pos_embed"] = fit_positions(table, frames, source)
        return found

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes.
        """
        head = "outputlayer.1.weight"
        return Sizes(
            width=size_of(found, "time_pos_embed", 1),
            depth=count_blocks(found, BLOCKS),
            hidden=size_of(found, "blocks.0.mlp.fc1.weight", 0),
            positions=size_of(found, "time_pos_embed", 3),
            classes=size_of(found, head, 0) if head in found.tensors else None,
        )

    def choose_heads(
        self, found: EncoderTensors, sizes: Sizes, given: int | None
    ) -> int:
        """Returns `given`, or the heads of the published size, or those stated.

        Published files may state the default of the class, which is not theirs.

        Raises:
            InputError: Nothing tells.
        """
        _, published = PUBLISHED_SIZES.get((sizes.width, sizes.depth), (None, None))
        heads = given or published or _stated(found, "num_heads")
        if heads is None:
            raise InputError(
                f"{found.source} does not say how many heads it has: give num_heads"
            )
        return heads

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "time_pos_embed": (1, d, 1, sizes.positions),
            "freq_pos_embed": (1, d, 1, 1),
            **norm_shapes("init_bn.1", MEL.num_mels),
            "init_bn.1.running_mean": (MEL.num_mels,),
            "init_bn.1.running_var": (MEL.num_mels,),
            "patch_embed.proj.weight": (d, 1, MEL.num_mels, FRAMES),
            "patch_embed.proj.bias": (d,),
            **norm_shapes("norm", d),
            **block_shapes(sizes),
        }
        if sizes.classes is not None:
            shapes |= norm_shapes("outputlayer.0", d)
            shapes |= linear_shapes("outputlayer.1", d, sizes.classes)
        return shapes

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor; the BatchNorm has seen no data yet."""
        if name.endswith("running_mean"):
            return np.zeros(shape, np.float32)
        return super().draw(name, shape, rng)


def _check_buffer(name: str, theirs: np.ndarray, ours: np.ndarray, source: str) -> None:
    fits = theirs.ndim == ours.ndim and theirs.shape[1:] == ours.shape[1:]
    known = theirs[: len(ours)].astype(np.float64) if fits else theirs
    if known.shape != ours.shape or not np.abs(known - ours).max() <= _BUFFER_ATOL:
        raise InputError(f"{source}: {name} is of another front end")


def fit_positions(table: np.ndarray, frames: int | None, source: str) -> np.ndarray:
    """Fits the table of positions to pieces of another length, as the reference does.

    Args:
        table: Positions as they are stored, `[..., N]`.
        frames: Length of a piece in frames. Of more positions the first ones are taken,
            fewer are interpolated. None: the table stays as it is.
        source: Name of the file, for messages.

    Raises:
        InputError: There is no position, or none is wanted.
    """
    stored = np.shape(table)[-1] if np.ndim(table) else 0
    positions = stored if frames is None else frames // FRAMES
    # No more memory is taken than a table of a plausible size needs.
    most = _MAX_POSITIONS * stored // max(1, table.size)
    if stored < 1 or not 1 <= positions <= max(stored, most):
        raise InputError(
            f"{source} is configured for pieces of {frames} frames but has positions "
            f"for {FRAMES * stored}"
        )
    if positions > stored:
        return np.asarray(table, np.float32) @ bilinear(stored, positions).T
    return table[..., :positions]


def _stated(found: EncoderTensors, argument: str) -> int | None:
    """An argument of the class, where the file holds them."""
    paths = (("config", argument), ("config", "encoder_kwargs", argument))
    return stated_int(found.content, paths)
