"""Probes as they are usually written in PyTorch, to compare ours with.

python -m experiments.benchmarks.torch_probes '{"probe": "ep", ...}'

Run as a program, the module takes a few training steps on random numbers and prints by
how many bytes its memory grew. Parameters have our names and shapes, so that both sides
can start from the same values.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks import torch_setup
from experiments.benchmarks.side_by_side import forget_peak, peak_bytes

# PyTorch is optional, and types must be checkable where it is not installed.
torch: Any = importlib.import_module("torch")
F: Any = importlib.import_module("torch.nn.functional")

Params = dict[str, Any]

NUM_HEADS = 12
NUM_QUERIES = 32


class Sign(torch.autograd.Function):
    """Computes +1 where x >= 0, else -1, and passes the gradient unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Returns the signs."""
        del ctx
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Returns the gradient unchanged."""
        del ctx
        return grads[0]


def affine(params: Params, name: str, x: Any) -> Any:
    """`x @ kernel + bias`."""
    return x @ params[f"{name}/kernel"] + params[f"{name}/bias"]


def protobin(params: Params, tokens: Any) -> Any:
    """Takes the maximum cosine of every prototype over all tokens, then classifies."""
    return protobin_unit(params, F.normalize(tokens, dim=-1))


def protobin_unit(params: Params, unit: Any) -> Any:
    """Does the same for tokens that were normalised before training."""
    bank = F.normalize(Sign.apply(params["prototypes"]), dim=-1)
    best = (unit @ bank.T).max(dim=1).values
    return affine(params, "classifier", best)


def mhca(params: Params, tokens: Any) -> Any:
    """Attends to keys and values of all tokens with learnt queries."""
    b, _, d = tokens.shape

    def heads(x: Any) -> Any:
        return x.reshape(*x.shape[:2], NUM_HEADS, -1).transpose(1, 2)

    key, value = heads(tokens @ params["key"]), heads(tokens @ params["value"])
    query = heads(params["queries"].expand(b, -1, -1))
    mixed = F.scaled_dot_product_attention(query, key, value)
    return affine(params, "classifier", mixed.transpose(1, 2).reshape(b, -1, d).mean(1))


def ep(params: Params, tokens: Any) -> Any:
    """Attends to raw tokens; each query pools its own part of the values."""
    b, n, d = tokens.shape
    weights = (tokens @ params["queries"].T * d**-0.5).softmax(dim=1)
    value = (tokens @ params["value"]).reshape(b, n, NUM_QUERIES, -1)
    pooled = (weights.transpose(1, 2)[:, :, None] @ value.transpose(1, 2)).flatten(1)
    return affine(params, "classifier", pooled)


def simpool(params: Params, tokens: Any) -> Any:
    """Attends to normalised tokens with a query made from their mean."""
    d = tokens.shape[-1]
    query = tokens.mean(dim=1, keepdim=True) @ params["query_map"]
    normed = F.layer_norm(tokens, (d,), params["scale"], params["bias"], eps=1e-6)
    scores = query @ (normed @ params["key"]).transpose(1, 2)
    pooled = (scores * d**-0.5).softmax(dim=-1) @ normed
    return affine(params, "classifier", pooled[:, 0])


def abmilp(params: Params, tokens: Any) -> Any:
    """Weights the tokens with scores of a hidden layer."""
    hidden = torch.tanh(affine(params, "hidden_0", tokens))
    weights = affine(params, "score", hidden).softmax(dim=1)
    return affine(params, "classifier", (weights * tokens).sum(dim=1))


LOGITS: dict[str, Callable[[Params, Any], Any]] = {
    "protobin": protobin,
    "protobin_unit": protobin_unit,
    "mhca": mhca,
    "ep": ep,
    "simpool": simpool,
    "abmilp": abmilp,
}


def asymmetric(logits: Any, targets: Any) -> Any:
    """The asymmetric loss with gamma 4 and 1, clip 0.05; mean over all."""
    p = torch.sigmoid(logits)
    q = (1 - p + 0.05).clamp(max=1)
    entropy = targets * p.clamp(min=1e-8).log()
    entropy = entropy + (1 - targets) * q.clamp(min=1e-8).log()
    gamma = 1 * targets + 4 * (1 - targets)
    weights = (1 - targets * p - (1 - targets) * q) ** gamma
    return -(entropy * weights).mean()


def make_step(
    probe: str,
    params: dict[str, np.ndarray],
    tokens: Any,
    targets: Any,
    *,
    rate: float,
    decay: float,
) -> Callable[[], float]:
    """Makes a training step with AdamW that returns the loss before the step.

    Args:
        probe: A key of `LOGITS`.
        params: Initial parameters, which are copied.
        tokens: Tensor of tokens, `[B, N, D]`.
        targets: Tensor of targets, `[B, C]`.
        rate: Constant learning rate.
        decay: Weight decay.
    """
    leaves = {
        k: torch.tensor(v, device=tokens.device, requires_grad=True)
        for k, v in params.items()
    }
    optimizer = torch.optim.AdamW(leaves.values(), lr=rate, weight_decay=decay)

    def step() -> float:
        optimizer.zero_grad()
        loss = asymmetric(LOGITS[probe](leaves, tokens), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def bytes_of_step(
    probe: str, size: list[int], shapes: dict[str, list[int]], device: str
) -> int:
    """Measures by how many bytes the memory of this process grows in its first steps.

    Args:
        probe: A key of `LOGITS`.
        size: The dimensions B, N, D and C.
        shapes: Shapes of the parameters by name.
        device: "cpu" or "cuda", whose memory is measured.
    """
    torch_setup.start(device)
    b, n, d, c = size
    params = {k: 0.02 * torch.randn(s).numpy() for k, s in shapes.items()}
    tokens = torch.randn(b, n, d, device=device)
    targets = torch.randint(2, (b, c), device=device).float()
    step = make_step(probe, params, tokens, targets, rate=1e-3, decay=1e-4)
    forget_peak()
    before = torch.cuda.memory_allocated() if device == "cuda" else peak_bytes()
    for _ in range(3):
        step()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_bytes()
    return (peak or 0) - (before or 0)


if __name__ == "__main__":
    print(bytes_of_step(**json.loads(sys.argv[1])))
