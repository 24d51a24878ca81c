"""A plain vision transformer in PyTorch, to compare our encoders with.

As in timm: 16 x 16 patches of a spectrogram, a class token, learnt positions, pre-norm
blocks, `scaled_dot_product_attention` and the exact GELU, with random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.benchmarks import torch_setup

PATCH, EPSILON = 16, 1e-6


def prepare(
    dtype: str,
    shape: tuple[int, int, int],
    size: tuple[int, int, int],
    device: str = "cpu",
) -> Callable[[], object]:
    """Returns a function that runs the network on random spectrograms.

    Args:
        dtype: The type of weights and activations, "float32" or "bfloat16".
        shape: The number of clips, frames and mel bands.
        size: The width, depth and number of heads of the network.
        device: "cpu" or "cuda".
    """
    torch = torch_setup.start(device)
    functional = torch.nn.functional
    kind = getattr(torch, dtype)
    b, frames, mels = shape
    width, depth, heads = size
    n = (frames // PATCH) * (mels // PATCH)

    def draw(*shape: int) -> Any:
        return 0.02 * torch.randn(shape, dtype=kind, device=device)

    def linear(inputs: int, outputs: int) -> Callable[[Any], Any]:
        weight, bias = draw(outputs, inputs), draw(outputs)
        return lambda x: functional.linear(x, weight, bias)

    def layer_norm() -> Callable[[Any], Any]:
        scale, bias = 1.0 + draw(width), draw(width)
        return lambda x: functional.layer_norm(x, (width,), scale, bias, EPSILON)

    def attention() -> Callable[[Any], Any]:
        qkv, proj = linear(width, 3 * width), linear(width, width)

        def run(x: Any) -> Any:
            parts = qkv(x).reshape(b, n + 1, 3, heads, width // heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            pooled = functional.scaled_dot_product_attention(q, k, v)
            return proj(pooled.transpose(1, 2).reshape(b, n + 1, width))

        return run

    def block() -> Callable[[Any], Any]:
        norm1, attend, norm2 = layer_norm(), attention(), layer_norm()
        fc1, fc2 = linear(width, 4 * width), linear(4 * width, width)

        def run(x: Any) -> Any:
            x = x + attend(norm1(x))
            return x + fc2(functional.gelu(fc1(norm2(x))))

        return run

    kernel, cls, positions = (
        draw(width, 1, PATCH, PATCH),
        draw(1, 1, width),
        draw(1, n + 1, width),
    )
    blocks, norm = [block() for _ in range(depth)], layer_norm()
    spectrogram = torch.randn((b, 1, frames, mels), dtype=kind, device=device)

    @torch.inference_mode()
    def run() -> Any:
        patches = functional.conv2d(spectrogram, kernel, stride=PATCH)
        x = patches.flatten(2).transpose(1, 2)
        x = torch.cat([cls.expand(b, -1, -1), x], 1) + positions
        for step in blocks:
            x = step(x)
        return norm(x)

    return torch_setup.waited_for(run, torch, device)
