"""The tensors of Dasheng checkpoints, pre-trained or fine-tuned.

Three layouts hold them: under "model" beside the arguments of the class; flat, with the
head of the fine-tuned file; and on Hugging Face, every name behind `encoder.` and
without the front end. All are given the names of the first.

Source: github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.audio.mel import MelDecibels, mel_banks, window
from unmute_jax.errors import InputError
from unmute_jax.ops.interpolation import bilinear
from unmute_jax.weights import vit
from unmute_jax.weights.contents import (
    Canonical,
    count_blocks,
    select,
    state_dict,
    whole_number,
)
from unmute_jax.weights.inert import lookup
from unmute_jax.weights.mapping import (
    Leaf,
    Shape,
    check_layout,
    flax_leaf,
    linear_shapes,
    norm_shapes,
    size_of,
    vit_block_shapes,
)

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

_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")
_NORM = "init_bn.1"
_TIMES = "time_pos_embed"
_IGNORED = {f"{_NORM}.num_batches_tracked": "a counter of the training"}
# Numbers in a table that is made longer; that of 1.2B has 0.4 million.
_MAX_POSITIONS = 1 << 26
_WINDOW = "front_end.0.spectrogram.window"
_BANKS = "front_end.0.mel_scale.fb"
# Half precision rounds by less; another window or mel scale differs by far more.
_BUFFER_ATOL = 5e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What tensor shapes tell about a network.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        positions: Tokens of a piece.
        classes: Outputs of the head; None without one.
    """

    width: int
    depth: int
    hidden: int
    positions: int
    classes: int | None = None


def base_sizes(width: int, depth: int, num_heads: int) -> Sizes:
    """Sizes in the proportions of the published files."""
    del num_heads
    return Sizes(width=width, depth=depth, hidden=4 * width, positions=PIECE)


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    d = sizes.width
    shapes: dict[str, Shape] = {
        "time_pos_embed": (1, d, 1, sizes.positions),
        "freq_pos_embed": (1, d, 1, 1),
        **norm_shapes(_NORM, MEL.num_mels),
        f"{_NORM}.running_mean": (MEL.num_mels,),
        f"{_NORM}.running_var": (MEL.num_mels,),
        "patch_embed.proj.weight": (d, 1, MEL.num_mels, FRAMES),
        "patch_embed.proj.bias": (d,),
        **norm_shapes("norm", d),
    }
    for i in range(sizes.depth):
        shapes |= vit_block_shapes(f"blocks.{i}", d, sizes.hidden)
    if sizes.classes is not None:
        shapes |= norm_shapes("outputlayer.0", d)
        shapes |= linear_shapes("outputlayer.1", d, sizes.classes)
    return shapes


def canonical(content: Any, source: str) -> Canonical:
    """The tensors of a file in any layout.

    The front end is computed here, but that of the file must be the same.

    Args:
        content: Of a `weights.files.WeightsFile`.
        source: Of the content, for the message.

    Raises:
        InputError: The file holds no state dict of tensors, or the buffers of another
            front end.
    """
    state = state_dict(content, source)
    hub = any(name.startswith("encoder.") for name in state.tensors)
    found = select(
        state,
        source,
        layout="Hugging Face" if hub else "the authors' package",
        rename=lambda name: name.removeprefix("encoder."),
        ignored=_IGNORED,
    )
    # The Nyquist bin has no weight; ours leave it out.
    for name, ours in ((_WINDOW, window(MEL)), (_BANKS, mel_banks(MEL))):
        if name in found.tensors:
            _check_buffer(name, found.tensors.pop(name), ours, source)
            found.ignored[name] = "computed here, and the same"
    frames = _stated(content, "target_length")
    if _TIMES in found.tensors:
        found.tensors[_TIMES] = fit_positions(found.tensors[_TIMES], frames, source)
    return found


def _check_buffer(name: str, theirs: np.ndarray, ours: np.ndarray, source: str) -> None:
    fits = theirs.ndim == ours.ndim and theirs.shape[1:] == ours.shape[1:]
    known = theirs[: len(ours)].astype(np.float64) if fits else theirs
    if known.shape != ours.shape or np.abs(known - ours).max() > _BUFFER_ATOL:
        raise InputError(f"{source}: {name} is of another front end")


def fit_positions(table: np.ndarray, frames: int | None, source: str) -> np.ndarray:
    """The table for pieces of another length, as the reference fits it on loading.

    Args:
        table: `[..., N]`, as it is stored.
        frames: Of a piece; where there are more positions, the first ones are taken,
            where there are fewer, they are interpolated. None: as many as are stored.
        source: Of the table, for the message.

    Raises:
        InputError: There is no position, or none is wanted.
    """
    stored = np.shape(table)[-1] if np.ndim(table) else 0
    positions = stored if frames is None else frames // FRAMES
    if stored < 1 or not 1 <= positions <= max(stored, _longest(table)):
        raise InputError(
            f"{source} is configured for pieces of {frames} frames but has positions "
            f"for {FRAMES * stored}"
        )
    if positions > stored:
        return np.asarray(table, np.float32) @ bilinear(stored, positions).T
    return table[..., :positions]


def _longest(table: np.ndarray) -> int:
    """The most positions that memory is taken for."""
    return _MAX_POSITIONS * table.shape[-1] // max(1, table.size)


def choose_heads(sizes: Sizes, content: Any, given: int | None, source: str) -> int:
    """`given`, or those of the published size, or what the file states.

    The published files may state the default of the class, which is not theirs.

    Raises:
        InputError: Nothing tells.
    """
    _, published = PUBLISHED_SIZES.get((sizes.width, sizes.depth), (None, None))
    heads = given or published or _stated(content, "num_heads")
    if heads is None:
        raise InputError(f"{source} does not say how many heads it has: give num_heads")
    return heads


def _stated(content: Any, size: str) -> int | None:
    """A size among the arguments of the class, where the file has them."""
    for path in (("config", size), ("config", "encoder_kwargs", size)):
        value = whole_number(lookup(content, *path))
        if value is not None:
            return value
    return None


def read_sizes(tensors: Mapping[str, np.ndarray], content: Any, source: str) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    Raises:
        InputError: A tensor that tells a size is missing or has too few axes.
    """
    del content

    def size(name: str, axis: int) -> int:
        return size_of(tensors, name, axis, source)

    head = "outputlayer.1.weight"
    return Sizes(
        width=size(_TIMES, 1),
        depth=count_blocks(tensors, _BLOCK, source),
        hidden=size("blocks.0.mlp.fc1.weight", 0),
        positions=size(_TIMES, 3),
        classes=size(head, 0) if head in tensors else None,
    )


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Random tensors, the same on every device; the BatchNorm has seen nothing yet."""
    rng = np.random.default_rng(seed)
    tensors = {
        name: vit.draw(name, shape, rng) for name, shape in layout(sizes).items()
    }
    tensors[f"{_NORM}.running_mean"] = np.zeros(MEL.num_mels, np.float32)
    return tensors


def leaves(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> Iterator[Leaf]:
    """Parameters of `encoders.dasheng_network.DashengNetwork`, one by one.

    Raises:
        InputError: The tensors are not exactly those of `layout(sizes)`.
    """
    check_layout(tensors, layout(sizes), source)
    return _leaves(dict(tensors))


_MODULES = {
    _NORM: "input_norm",
    "patch_embed.proj": "patch_embed",
    "outputlayer.0": "head_norm",
    "outputlayer.1": "head",
}
_STATISTICS = {"running_mean": "mean", "running_var": "var"}


def _leaves(tensors: dict[str, np.ndarray]) -> Iterator[Leaf]:
    time, frequency = (
        tensors.pop(f"{axis}_pos_embed").astype(np.float32) for axis in ("time", "freq")
    )
    yield ("positions",), (time + frequency)[0, :, 0].T
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        if name == "patch_embed.proj.weight":
            # Patches are (time, mel) here, (mel, time) there.
            tensor = tensor.swapaxes(2, 3)
        leaf, array = flax_leaf(last, tensor)
        folders = _MODULES.get(module) or _BLOCK.sub(r"blocks_\1.", module)
        yield (*folders.split("."), _STATISTICS.get(last, leaf)), array
