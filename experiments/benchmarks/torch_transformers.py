"""AST and Whisper's encoder of the library transformers, to compare our encoders with.

The networks have the library's own code and random weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from experiments.benchmarks import torch_setup


def prepare(
    name: str,
    dtype: str,
    shape: tuple[int, int, int],
    size: tuple[int, int, int],
    device: str = "cpu",
) -> Callable[[], object]:
    """Returns a function that runs a network on random spectrograms.

    Args:
        name: "ast" or "whisper".
        dtype: The type of weights and activations, "float32" or "bfloat16".
        shape: The number of clips, frames and mel bands.
        size: The width, depth and number of heads of the network.
        device: "cpu" or "cuda".
    """
    torch = torch_setup.start(device)
    kind = getattr(torch, dtype)
    spectrogram = torch.randn(shape, dtype=kind, device=device)
    # Whisper's front end puts the mel bands first.
    if name == "whisper":
        spectrogram = spectrogram.transpose(1, 2).contiguous()
    network = NETWORKS[name](shape, size).to(device, kind).eval()

    @torch.inference_mode()
    def run() -> Any:
        return network(spectrogram).last_hidden_state

    return torch_setup.waited_for(run, torch, device)


def _ast(shape: tuple[int, int, int], size: tuple[int, int, int]) -> Any:
    transformers: Any = importlib.import_module("transformers")
    width, depth, heads = size
    _, frames, mels = shape
    config = transformers.ASTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_length=frames,
        num_mel_bins=mels,
        attn_implementation="sdpa",
    )
    return transformers.ASTModel(config)


def _whisper(shape: tuple[int, int, int], size: tuple[int, int, int]) -> Any:
    module: Any = importlib.import_module(
        "transformers.models.whisper.modeling_whisper"
    )
    width, depth, heads = size
    _, frames, mels = shape
    config = module.WhisperConfig(
        d_model=width,
        encoder_layers=depth,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        max_source_positions=frames // 2,
        num_mel_bins=mels,
        attn_implementation="sdpa",
    )
    return module.WhisperEncoder(config)


NETWORKS: dict[str, Callable[..., Any]] = {"ast": _ast, "whisper": _whisper}
