"""Sets PyTorch up for comparisons, on a CPU or on a CUDA device."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from experiments.benchmarks.side_by_side import cores


def has_cuda() -> bool:
    """Whether PyTorch can use a CUDA device."""
    torch: Any = importlib.import_module("torch")
    return torch.cuda.is_available()


def start(device: str) -> Any:
    """Returns the module `torch`, with all cores and without TF32.

    Our encoders multiply float32 numbers as such, so PyTorch has to as well: by default
    its convolutions would round them to TF32 on a GPU.

    Args:
        device: "cpu" or "cuda".
    """
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(cores())
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch


def waited_for(run: Callable[[], Any], torch: Any, device: str) -> Callable[[], Any]:
    """Returns `run`, followed by waiting for the device, which works by itself.

    Args:
        run: A function that starts work.
        torch: The module.
        device: "cpu" or "cuda".
    """
    if device == "cpu":
        return run

    def run_to_the_end() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return run_to_the_end
