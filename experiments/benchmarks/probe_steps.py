"""One training step of a probe, ours and PyTorch's, on the same clips and weights."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unmute_jax import distributed
from unmute_jax.config import Optimizer
from unmute_jax.probes import make_probe
from unmute_jax.tokens import Tokens, inverse_norms, summarise
from unmute_jax.training import losses
from unmute_jax.training.data import Batch, pack, unpack
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Trial, init_state, make_train_steps

RATE, DECAY = 1e-3, 1e-4
# With so many steps the cosine schedule stays constant, as PyTorch's rate does.
STEPS = 10**9


@dataclass
class Data:
    """Random clips that all contestants share: `[B, T, F, D]` and `[B, C]`."""

    patches: np.ndarray
    targets: np.ndarray

    @classmethod
    def draw(cls, shape: tuple[int, ...], classes: int) -> Data:
        """Draws normally distributed tokens, and each class with probability 0.1."""
        rng = np.random.default_rng(0)
        patches = rng.standard_normal(shape, np.float32)
        targets = rng.random((shape[0], classes)) < 0.1
        return cls(patches, targets.astype(np.float32))

    def batch(self, dtype: Any, input_kind: str) -> Batch:
        """The batch that training passes to the step."""
        patches = jnp.asarray(self.patches)
        b, t, _, _ = patches.shape
        tokens = Tokens(
            patches=patches.astype(dtype),
            cls=patches.mean((1, 2)),
            mask=jnp.ones((b, t), bool),
            inverse_norms=inverse_norms(patches.astype(dtype)),
        )
        inputs = summarise(tokens) if input_kind == "summary" else pack(tokens)
        batch = Batch(inputs, self.targets, np.ones(b, np.float32))
        return distributed.shard(batch, distributed.make_mesh(1))


class Ours:
    """Repeats the training step of a stack of trials on one batch."""

    def __init__(
        self,
        name: str,
        data: Data,
        dtype: Any = jnp.float32,
        count: int = 1,
        **options: Any,
    ):
        mesh, settings = distributed.make_mesh(1), Optimizer()
        probe = make_probe(name, num_classes=data.targets.shape[1], **options)
        stack = tuple(
            Trial(learning_rate=RATE, weight_decay=DECAY, seed=k) for k in range(count)
        )
        self.batch = data.batch(dtype, probe.input_kind)
        example = jax.tree.map(lambda x: x[:1], unpack(self.batch.packed))
        state = init_state(probe, example, stack, settings)
        self.state = distributed.replicate(state, mesh)
        self.first = jax.device_get(jax.tree.map(lambda x: x[0], state.params))
        loss = losses.make_loss("asymmetric")
        steps = make_train_steps(probe, loss, STEPS, settings, Sharding(mesh))
        step: Any = jax.jit(steps, donate_argnums=0)
        self.compiled = step.lower(self.state, self.batch).compile()
        plan: Any = self.compiled.memory_analysis()
        self.megabytes = plan.temp_size_in_bytes / 1e6

    def __call__(self) -> float:
        """Takes a step and returns the mean loss of the first trial before it."""
        before = float(self.state.loss_sum[0])
        self.state = jax.block_until_ready(self.compiled(self.state, self.batch))
        return (float(self.state.loss_sum[0]) - before) / len(self.batch.targets)

    def named_params(self) -> dict[str, np.ndarray]:
        """The first trial's initial parameters by name, such as "classifier/kernel"."""
        leaves = jax.tree.leaves_with_path(self.first)
        name = jax.tree_util.keystr
        return {name(k, simple=True, separator="/"): np.asarray(v) for k, v in leaves}


class Theirs:
    """The same step in PyTorch, on fewer clips where memory is short."""

    def __init__(self, torch: Any, name: str, data: Data, ours: Ours, columns: int):
        b, t, f, d = data.patches.shape
        # At most three tensors each of the size of scores and of tokens are alive.
        need = 3 * 4 * b * t * f * (columns + d)
        self.clips = max(1, min(b, int(b * 0.5 * _free_memory(torch) / need)))
        self.share = self.clips / b
        tokens = in_torch(torch, data.patches[: self.clips]).reshape(-1, t * f, d)
        if name == "protobin_unit":
            tokens = torch.nn.functional.normalize(tokens, dim=-1)
        targets = in_torch(torch, data.targets[: self.clips])
        probes = importlib.import_module("experiments.benchmarks.torch_probes")
        params = ours.named_params()
        self.step = probes.make_step(
            name, params, tokens, targets, rate=RATE, decay=DECAY
        )
        self.order = {
            "probe": name,
            "size": [self.clips, t * f, d, data.targets.shape[1]],
            "shapes": {k: v.shape for k, v in params.items()},
            "device": torch_device(torch),
        }

    def __call__(self) -> float:
        """Takes a step and returns the loss before it."""
        return self.step()

    def megabytes(self) -> float:
        """The memory for all clips, scaled from those that fit into a new process."""
        command = ["-m", "experiments.benchmarks.torch_probes", json.dumps(self.order)]
        done = subprocess.run(
            [sys.executable, *command], check=True, capture_output=True, text=True
        )
        return int(done.stdout) / self.share / 1e6


def torch_device(torch: Any) -> str:
    """Where PyTorch runs: "cuda" if JAX uses a GPU that PyTorch can use too."""
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    return "cuda" if gpu else "cpu"


def in_torch(torch: Any, array: np.ndarray) -> Any:
    """Returns an array as a tensor on PyTorch's device."""
    return torch.from_numpy(array).to(torch_device(torch))


def _free_memory(torch: Any) -> int:
    """The bytes that are free where PyTorch runs."""
    if torch_device(torch) == "cuda":
        return torch.cuda.mem_get_info()[0]
    return distributed.host_memory()
