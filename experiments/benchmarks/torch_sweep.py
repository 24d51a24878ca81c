"""A search as it is usually written in PyTorch: one trial after the other.

Tokens are in memory. Every step reads its clips and computes the probe and its
gradients as in `torch_probes`, and after its last epoch each trial is scored on the
validation clips.
"""

from __future__ import annotations

import functools
import importlib
import time
from typing import Any

import numpy as np

from experiments.benchmarks.torch_probes import LOGITS, affine, asymmetric

# PyTorch is optional, and types must be checkable where it is not installed.
torch: Any = importlib.import_module("torch")


def linear(params: dict[str, Any], tokens: Any) -> Any:
    """Classifies the mean of all tokens."""
    return affine(params, "classifier", tokens.mean(dim=1))


def linear_of_means(params: dict[str, Any], means: Any) -> Any:
    """Classifies means that were computed before training."""
    return affine(params, "classifier", means)


PROBES = {**LOGITS, "linear": linear, "linear_of_means": linear_of_means}


def seconds(
    probe: str,
    size: tuple[int, int, int, int, int],
    params: dict[str, np.ndarray],
    points: list[tuple[float, float]],
    epochs: int,
    batch_size: int,
) -> float:
    """Measures how many seconds trials take, one after the other.

    Args:
        probe: A key of `PROBES`.
        size: Numbers of training clips, validation clips, tokens, features and classes.
        params: Initial parameters with our names and shapes.
        points: Learning rate and weight decay of each trial.
        epochs: Number of epochs per trial.
        batch_size: Number of clips per step.
    """
    train, validation = clips(size)
    if probe == "linear_of_means":
        train, validation = ((x.mean(dim=1), y) for x, y in (train, validation))
    started = time.perf_counter()
    for rate, decay in points:
        leaves = _train(probe, train, params, rate, decay, epochs, batch_size)
        _score(probe, leaves, validation, batch_size)
    return time.perf_counter() - started


@functools.cache
def clips(size: tuple[int, int, int, int, int]) -> tuple[tuple[Any, Any], ...]:
    """Random tokens and targets for training and for validation."""
    n, held_out, tokens, features, classes = size
    torch.manual_seed(0)
    return tuple(
        (torch.randn(k, tokens, features), (torch.rand(k, classes) < 0.2).float())
        for k in (n, held_out)
    )


def _train(
    probe: str,
    data: tuple[Any, Any],
    params: dict[str, np.ndarray],
    rate: float,
    decay: float,
    epochs: int,
    batch_size: int,
) -> dict[str, Any]:
    tokens, targets = data
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    optimizer = torch.optim.AdamW(leaves.values(), lr=rate, weight_decay=decay)
    steps = epochs * -(-len(tokens) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(tokens)).split(batch_size):
            optimizer.zero_grad()
            loss = asymmetric(PROBES[probe](leaves, tokens[rows]), targets[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
    return leaves


def _score(
    probe: str, leaves: dict[str, Any], data: tuple[Any, Any], batch_size: int
) -> float:
    """The mean average precision, computed by scikit-learn."""
    from sklearn.metrics import average_precision_score

    with torch.no_grad():
        parts = [PROBES[probe](leaves, x) for x in data[0].split(batch_size)]
    found = average_precision_score(data[1].numpy(), torch.cat(parts).numpy())
    return float(found)
