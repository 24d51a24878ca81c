"""Batches of what a probe reads, in an order that depends on nothing but the seed."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, Num

from unmute_jax import distributed
from unmute_jax.metrics.frames import frame_labels
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Summary, Tokens

# Batches read ahead of the step that uses them, and the threads that read: while one
# waits for the disk, another puts clips together.
PREFETCH = 2
READERS = 2
# Steps in one call where clips are on the devices: enough to hide the dispatch, few
# enough that progress shows.
STRETCH = 16
T = TypeVar("T")


@flax.struct.dataclass
class Batch:
    """`B` clips; padding rows repeat the first clip and have weight zero.

    `packed` is what the probe reads, as `pack` makes it and `unpack` takes it. Where
    time steps are examples of their own, targets and weights have an axis of them.
    """

    packed: Tokens | Summary
    targets: Float[Any, "B *T C"]
    weight: Float[Any, "B *T"]


class StepBlock(NamedTuple):
    """Which clips the steps of a stretch read, as `trials.make_run` takes it.

    Attributes:
        rows: Places of clips, one column per step.
        real: Zero where a row only fills a batch up, else one.
        steps: Columns that are meant.
    """

    rows: Int[jax.Array, "B S"]
    real: Float[jax.Array, "B S"]
    steps: Int[jax.Array, ""]


def pack(inputs: Tokens | Summary) -> Tokens | Summary:
    """`inputs` as they travel to the device: bfloat16 as integers, int8 as it is.

    XLA's CPU backend has no bfloat16 slices and would widen all patches to float32
    before it cuts a chunk of them; integers it takes as they are, where they come in
    as integers. Elsewhere it makes no difference.
    """
    if isinstance(inputs, Tokens) and inputs.patches.dtype == jnp.bfloat16:
        large = {"patches": inputs.patches, "layers": inputs.layers}
        views = {
            name: np.asarray(x).view(np.uint16)
            for name, x in large.items()
            if x is not None
        }
        return dataclasses.replace(inputs, **views)
    return inputs


def unpack(inputs: Tokens | Summary) -> Tokens | Summary:
    """The way back, inside a compiled function."""
    if isinstance(inputs, Tokens) and inputs.patches.dtype == jnp.uint16:
        large = {"patches": inputs.patches, "layers": inputs.layers}
        floats = {
            name: jax.lax.bitcast_convert_type(jnp.asarray(x), jnp.bfloat16)
            for name, x in large.items()
            if x is not None
        }
        return dataclasses.replace(inputs, **floats)
    return inputs.floats() if isinstance(inputs, Tokens) else inputs


class ProbeData:
    """The clips of some splits, as one kind of probe reads them.

    Tokens are held in memory where they fit in half of what is free, or as `hold` says;
    otherwise each batch is read from the store.

    Attributes:
        ids: Names of the clips.
        labels: `[n, C]`, one where a class is in the clip.
        targets: What is to be learnt: the labels, or those of time steps, `[n, T, C]`.
        weights: `[n]` or `[n, T]`; zero for time steps that are masked.
        events: Per clip: (class, onset, offset), in seconds, as far as they are known.
        seconds_per_step: Of the encoder.
    """

    def __init__(
        self,
        stores: Sequence[TokenStore],
        input_kind: str,
        normaliser: FeatureNormaliser | None = None,
        *,
        frame_rule: str | None = None,
        hold: bool | None = None,
    ):
        """Joins `stores` in order; `input_kind` as of `probes.Probe`.

        With a `frame_rule` (`frame_labels.RULES`) each time step is an example, and
        what reads summaries of clips reads tokens.
        """
        self.labels = np.concatenate([s.labels for s in stores]).astype(np.float32)
        self.ids = [i for s in stores for i in s.ids]
        self.events = [e for s in stores for e in s.events]
        self.seconds_per_step: float = stores[0].manifest["geometry"][
            "seconds_per_step"
        ]
        if frame_rule is None:
            self.targets, weights = self.labels, np.ones(len(self.ids))
        else:
            made = [frame_labels(s, frame_rule) for s in stores]
            self.targets = np.concatenate(made)
            weights = np.concatenate([s.mask for s in stores])
        self.weights = weights.astype(np.float32)
        self._starts = np.cumsum([0, *(s.n for s in stores)])
        self._stores = stores
        self._layers = input_kind == "layers"
        self._prepare = normaliser.apply if normaliser else lambda x: x
        if what_is_read(input_kind, frame_rule) == "summary":
            self._held = self._prepare(_join([s.summary() for s in stores]))
        elif _fits(stores, self._layers) if hold is None else hold:
            whole = (s.load(layers=self._layers) for s in stores)
            self._held = _join([self._prepare(tokens) for tokens in whole])
        else:
            self._held = None
        self._resident: dict[Mesh, Batch] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_held(self) -> bool:
        """Whether they are in memory; otherwise each batch is read from the store."""
        return self._held is not None

    @property
    def is_framewise(self) -> bool:
        """Whether each time step is an example."""
        return self.targets.ndim == 3

    def flatten_valid(
        self, logits: Float[np.ndarray, "n K *T C"]
    ) -> tuple[Float[np.ndarray, "_ K C"], Num[np.ndarray, "_ C"]]:
        """Logits and targets of all real examples in a row: clips or time steps."""
        if not self.is_framewise:
            return logits, self.targets
        real = self.weights > 0
        return np.moveaxis(logits, 1, 2)[real], self.targets[real]

    def on_devices(self, mesh: Mesh) -> Batch | None:
        """All clips, on every device of `mesh`; None where they have no room there.

        Asked for again, they are the same arrays.
        """
        if mesh not in self._resident:
            # Processes must take the same turn, whatever memory each has.
            everywhere = distributed.global_min(self._have_room(mesh))
            if not everywhere or self._held is None:
                return None
            parts = pack(self._held), self.targets.astype(np.float32), self.weights
            self._resident[mesh] = distributed.replicate_read_only(Batch(*parts), mesh)
        return self._resident[mesh]

    def _have_room(self, mesh: Mesh) -> bool:
        if self._held is None:
            return False
        is_cpu = jax.default_backend() == "cpu"
        copies = distributed.local_mesh(mesh).size if is_cpu else 1
        # One CPU device reads the host's memory, where they are anyway.
        if is_cpu and mesh.size == 1:
            return True
        parts = self._held, self.targets, self.weights
        needed = copies * sum(x.nbytes for x in jax.tree.leaves(parts))
        return needed <= 0.5 * distributed.free_memory()

    def read(self, rows: Int[np.ndarray, "B"]) -> Tokens | Summary:
        """What the probe reads of the clips `rows`, as host arrays."""
        if self._held is not None:
            return jax.tree.map(lambda x: x[rows], self._held)
        parts, places = [], []
        for k, store in enumerate(self._stores):
            low, high = self._starts[k], self._starts[k + 1]
            (place,) = np.nonzero((rows >= low) & (rows < high))
            if len(place):
                parts.append(store.read(rows[place] - low, layers=self._layers))
                places.append(place)
        tokens = self._prepare(_join(parts))
        if len(parts) == 1:
            return tokens
        back = np.argsort(np.concatenate(places))
        return jax.tree.map(lambda x: x[back], tokens)


def what_is_read(input_kind: str, frame_rule: str | None) -> str:
    """What a probe needs of each clip: a summary has no time steps."""
    return (
        "tokens" if frame_rule is not None and input_kind == "summary" else input_kind
    )


def epoch_order(seed: int, epoch: int, n: int) -> Int[np.ndarray, "n"]:
    """The order of the clips: a function of (seed, epoch) and of nothing else."""
    stream = np.random.SeedSequence([seed, epoch])
    return np.random.Generator(np.random.PCG64(stream)).permutation(n)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches in an epoch, the ragged last one included."""
    return -(-n // batch_size)


def training_rows(
    n: int, batch_size: int, seed: int, start: int, stop: int
) -> Iterator[Int[np.ndarray, "B"]]:
    """The rows of each step from `start` to `stop`; an epoch may end in a short one."""
    per_epoch = steps_per_epoch(n, batch_size)
    order, shown = np.empty(0, np.int64), -1
    for step in range(start, stop):
        epoch, i = divmod(step, per_epoch)
        if epoch != shown:
            order, shown = epoch_order(seed, epoch, n), epoch
        yield order[i * batch_size : (i + 1) * batch_size]


def rows_in_order(n: int, batch_size: int) -> Iterator[Int[np.ndarray, "B"]]:
    """All rows once, in their own order."""
    for start in range(0, n, batch_size):
        yield np.arange(start, min(start + batch_size, n))


def batches(
    inputs: ProbeData,
    rows: Iterator[np.ndarray],
    batch_size: int,
    mesh: Mesh,
    *,
    shard_trials: bool = False,
) -> Iterator[Batch]:
    """Batches on the devices of `mesh`, read ahead.

    Every batch has the same shape: `batch_size` rounded up to a multiple of the number
    of devices, so that nothing is compiled twice. Devices share it out, and a process
    reads its own rows only; or with `shard_trials`, where they share out trials, each
    has all of it.
    """
    width = -(-batch_size // mesh.size) * mesh.size

    def make(chosen: np.ndarray) -> Batch:
        padded = np.concatenate([chosen, np.repeat(chosen[:1], width - len(chosen))])
        is_real = np.arange(width) < len(chosen)
        if not shard_trials:
            padded, is_real = distributed.local_rows((padded, is_real))
        weight = inputs.weights[padded]
        weight[~is_real] = 0
        targets = inputs.targets[padded].astype(np.float32)
        batch = Batch(pack(inputs.read(padded)), targets, weight)
        place = distributed.replicate_read_only if shard_trials else distributed.shard
        return place(batch, mesh)

    yield from read_ahead(make, rows)


def step_blocks(
    n: int,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    mesh: Mesh,
    *,
    shard_trials: bool = False,
) -> Iterator[tuple[int, StepBlock]]:
    """The steps from `start` to `stop` for `trials.make_run`, some at a time.

    A stretch ends with its epoch at the latest. Each comes with the number of steps
    after it; `shard_trials` as of `batches`.
    """
    width = -(-batch_size // mesh.size) * mesh.size
    per_epoch = steps_per_epoch(n, batch_size)
    length = min(per_epoch, STRETCH)
    while start < stop:
        rest = per_epoch - start % per_epoch
        end = min(stop, start + min(rest, length))
        rows = np.zeros((width, length), np.int32)
        real = np.zeros((width, length), np.float32)
        taken = training_rows(n, batch_size, seed, start, end)
        for i, chosen in enumerate(taken):
            rows[: len(chosen), i], rows[len(chosen) :, i] = chosen, chosen[0]
            real[: len(chosen), i] = 1
        if shard_trials:
            placed = distributed.replicate_read_only((rows, real), mesh)
        else:
            placed = distributed.shard(distributed.local_rows((rows, real)), mesh)
        steps = distributed.replicate_read_only(np.int32(end - start), mesh)
        yield end, StepBlock(placed[0], placed[1], steps)
        start = end


def read_ahead(
    read: Callable[[np.ndarray], T], rows: Iterator[np.ndarray]
) -> Iterator[T]:
    """`map(read, rows)`, a few ahead in threads."""
    with ThreadPoolExecutor(READERS) as pool:
        ahead = deque()
        for chosen in rows:
            ahead.append(pool.submit(read, chosen))
            if len(ahead) > PREFETCH:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def _fits(stores: Sequence[TokenStore], layers: bool) -> bool:
    needed = sum(store.nbytes(layers=layers) for store in stores)
    return needed < 0.5 * distributed.host_memory()
