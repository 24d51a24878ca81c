"""Checkpoints of Whisper: of OpenAI, of Hugging Face and of CTranslate2.

OpenAI saves `{"dims": sizes, "model_state_dict": tensors}`. Files of Hugging Face hold
the same tensors under other names, and those of CTranslate2 hold query, key and value
in one tensor. The canonical names are those of OpenAI without `encoder.`. Every file
holds the decoder too, which is not used.

Source: openai-whisper 20250625 (MIT), transformers 5.24.0 (Apache-2.0) and ctranslate2
4.8.5 (MIT).
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights import checkpoints
from unmute_jax.weights.contents import (
    EncoderTensors,
    count_blocks,
    select,
    size_of,
    state_dict,
)
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes

POSITIONS = 1500  # tokens of 30 s
KERNEL = 3  # taps of both convolutions

# (width, depth) of the published models -> (name, attention heads).
PUBLISHED_SIZES = {
    (384, 4): ("tiny", 6),
    (512, 6): ("base", 8),
    (768, 12): ("small", 12),
    (1024, 24): ("medium", 16),
    (1280, 32): ("large", 20),
}

_DECODER = "decoder, which writes the text"
_IGNORED = {"decoder": _DECODER, "proj_out": _DECODER}
_DIMS = {"dims": "sizes of the network; the number of heads is read from it"}
_BLOCK = r"blocks\.(\d{1,4})\."
# Names of Hugging Face, and of CTranslate2, -> canonical names.
_HUGGING_FACE = (
    (r"layers\.(\d+)\.self_attn_layer_norm\.", r"blocks.\1.attn_ln."),
    (r"layers\.(\d+)\.self_attn\.q_proj\.", r"blocks.\1.attn.query."),
    (r"layers\.(\d+)\.self_attn\.k_proj\.", r"blocks.\1.attn.key."),
    (r"layers\.(\d+)\.self_attn\.v_proj\.", r"blocks.\1.attn.value."),
    (r"layers\.(\d+)\.self_attn\.out_proj\.", r"blocks.\1.attn.out."),
    (r"layers\.(\d+)\.final_layer_norm\.", r"blocks.\1.mlp_ln."),
    (r"layers\.(\d+)\.fc1\.", r"blocks.\1.mlp.0."),
    (r"layers\.(\d+)\.fc2\.", r"blocks.\1.mlp.2."),
    (r"layer_norm\.", r"ln_post."),
    (r"embed_positions\.weight$", r"positional_embedding"),
)
_CTRANSLATE2 = (
    (r"layer_(\d+)/self_attention/layer_norm/", r"blocks.\1.attn_ln."),
    (r"layer_(\d+)/self_attention/linear_0/", r"blocks.\1.attn.qkv."),
    (r"layer_(\d+)/self_attention/linear_1/", r"blocks.\1.attn.out."),
    (r"layer_(\d+)/ffn/layer_norm/", r"blocks.\1.mlp_ln."),
    (r"layer_(\d+)/ffn/linear_0/", r"blocks.\1.mlp.0."),
    (r"layer_(\d+)/ffn/linear_1/", r"blocks.\1.mlp.2."),
    (r"layer_norm/", r"ln_post."),
    (r"position_encodings/encodings$", r"positional_embedding"),
    (r"(conv[12])/", r"\1."),
)
_CTRANSLATE2_LEAVES = {"gamma": "weight", "beta": "bias"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes(checkpoints.Sizes):
    """The sizes of a network.

    Attributes:
        mels: Number of mel bands of the input.
    """

    mels: int


def _taps_first(kernel: np.ndarray) -> np.ndarray:
    """A kernel `[out, in, tap]` as the linear map `[out, tap * in]`."""
    return kernel.swapaxes(1, 2).reshape(len(kernel), -1)


def _joined_bias(query: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The biases of query, key and value, of which the key has none."""
    return np.concatenate([query, np.zeros_like(query), value])


class WhisperCheckpoints(checkpoints.Checkpoints):
    """Checkpoints of Whisper; the position table is for 30 s."""

    sizes_type = Sizes
    base_positions = POSITIONS
    heads_paths = (
        ("dims", "n_audio_head"),
        ("config", "encoder_attention_heads"),
        ("config", "num_heads"),
    )
    rules = (
        Rule("positional_embedding", "positions", make=np.asarray),
        Rule(r"(conv[12])\.weight", r"\1.weight", make=_taps_first),
        Rule(r"(conv[12])\.bias", r"\1.bias"),
        Rule(rf"{_BLOCK}attn_ln\.(weight|bias)", r"blocks_\1.norm1.\2"),
        Rule(
            rf"{_BLOCK}attn\.query\.weight",
            r"blocks_\1.attn.qkv.weight",
            others=(r"blocks.\1.attn.key.weight", r"blocks.\1.attn.value.weight"),
            make=lambda *parts: np.concatenate(parts),
        ),
        Rule(
            rf"{_BLOCK}attn\.query\.bias",
            r"blocks_\1.attn.qkv.bias",
            others=(r"blocks.\1.attn.value.bias",),
            make=_joined_bias,
        ),
        Rule(rf"{_BLOCK}attn\.out\.(weight|bias)", r"blocks_\1.attn.proj.\2"),
        Rule(rf"{_BLOCK}mlp_ln\.(weight|bias)", r"blocks_\1.norm2.\2"),
        Rule(rf"{_BLOCK}mlp\.0\.(weight|bias)", r"blocks_\1.mlp.fc1.\2"),
        Rule(rf"{_BLOCK}mlp\.2\.(weight|bias)", r"blocks_\1.mlp.fc2.\2"),
        Rule(r"ln_post\.(weight|bias)", r"norm.\1"),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of any layout.

        Raises:
            InputError: The file holds no state dict of tensors, or a key projection
                with a bias.
        """
        is_openai = isinstance(content, dict) and "model_state_dict" in content
        if is_openai:
            state = state_dict(content, source, key="model_state_dict", beside=_DIMS)
            return select(
                state,
                layout="OpenAI",
                ignored=_IGNORED,
                rename=lambda name: name.removeprefix("encoder."),
            )
        state = state_dict(content, source)
        if any("/" in name for name in state.tensors):
            found = select(
                state,
                layout="CTranslate2",
                ignored={**_IGNORED, "num_heads": "the number of heads, which is read"},
                rename=_from_ctranslate2,
            )
            for name in [n for n in found.tensors if ".attn.qkv." in n]:
                _split(found.tensors, name, source)
            return found
        return select(
            state, layout="Hugging Face", ignored=_IGNORED, rename=_from_hugging_face
        )

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes.
        """
        return Sizes(
            width=size_of(found, "positional_embedding", 1),
            depth=count_blocks(found, _BLOCK),
            hidden=size_of(found, "blocks.0.mlp.0.weight", 0),
            positions=size_of(found, "positional_embedding", 0),
            mels=size_of(found, "conv1.weight", 1),
        )

    def base_sizes(self, width: int, depth: int, num_heads: int) -> Sizes:
        """Returns the sizes of a network with 80 mel bands and positions for 30 s."""
        return Sizes(
            width=width, depth=depth, hidden=4 * width, positions=POSITIONS, mels=80
        )

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "positional_embedding": (sizes.positions, d),
            "conv1.weight": (d, sizes.mels, KERNEL),
            "conv1.bias": (d,),
            "conv2.weight": (d, d, KERNEL),
            "conv2.bias": (d,),
            **norm_shapes("ln_post", d),
        }
        for i in range(sizes.depth):
            block = f"blocks.{i}"
            shapes |= {
                **norm_shapes(f"{block}.attn_ln", d),
                **linear_shapes(f"{block}.attn.query", d, d),
                f"{block}.attn.key.weight": (d, d),
                **linear_shapes(f"{block}.attn.value", d, d),
                **linear_shapes(f"{block}.attn.out", d, d),
                **norm_shapes(f"{block}.mlp_ln", d),
                **linear_shapes(f"{block}.mlp.0", d, sizes.hidden),
                **linear_shapes(f"{block}.mlp.2", sizes.hidden, d),
            }
        return shapes

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor; the positions are the fixed table."""
        drawn = super().draw(name, shape, rng)
        return drawn if name != "positional_embedding" else position_table(*shape)


def position_table(rows: int, width: int) -> np.ndarray:
    """Returns the sinusoids of the reference, `[rows, width]` float32.

    Published files hold the table, rounded to half precision in some of them, so it is
    read from there; this one is for untrained weights.
    """
    step = np.log(10000.0) / max(1, width // 2 - 1)
    angles = np.outer(np.arange(rows), np.exp(-step * np.arange(width // 2)))
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return table.astype(np.float32)


def _from_hugging_face(name: str) -> str:
    """The canonical name of a tensor of Hugging Face.

    A file of the encoder alone has no prefix, one of the model without head has
    `encoder.`.
    """
    name = name.removeprefix("model.").removeprefix("encoder.")
    for pattern, canonical in _HUGGING_FACE:
        name, count = re.subn(rf"^{pattern}", canonical, name)
        if count:
            break
    return name


def _from_ctranslate2(name: str) -> str:
    """The canonical name of a variable of CTranslate2."""
    name = name.removeprefix("encoder/")
    for pattern, canonical in _CTRANSLATE2:
        name, count = re.subn(rf"^{pattern}", canonical, name)
        if count:
            break
    *folders, leaf = name.split(".")
    return ".".join((*folders, _CTRANSLATE2_LEAVES.get(leaf, leaf)))


def _split(tensors: dict[str, np.ndarray], name: str, source: str) -> None:
    """Replaces a tensor of query, key and value, in this order, by one for each."""
    block, leaf = name.split(".attn.qkv.")
    joined = tensors.pop(name)
    if not joined.ndim or len(joined) % 3:
        raise InputError(f"{source} holds another network: {name} is misshapen")
    for part, tensor in zip(
        ("query", "key", "value"), np.split(joined, 3), strict=True
    ):
        if (part, leaf) != ("key", "bias"):
            tensors[f"{block}.attn.{part}.{leaf}"] = tensor
        elif np.any(tensor):
            raise InputError(
                f"{source} holds another network: the keys of {block} have a bias"
            )
