"""The clips of some splits as a probe reads them, in memory or from the token store."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, Num

from unmute_jax import distributed
from unmute_jax.datasets import Protocol
from unmute_jax.metrics.frames import frame_labels
from unmute_jax.probes import Reading
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training import memory


@flax.struct.dataclass
class Batch:
    """Clips with their targets; padding rows repeat a clip and have weight zero.

    Where time steps are the examples, targets and weights have an axis of them.

    Attributes:
        packed: The inputs of the probe, as returned by `pack`; `unpack` undoes it.
        targets: The targets of the loss, shape `[B, C]` or `[B, T, C]`.
        weight: Weight of each example in the loss, shape `[B]` or `[B, T]`.
    """

    packed: Tokens | Summary
    targets: Float[Any, "B *T C"]
    weight: Float[Any, "B *T"]


def pack(inputs: Tokens | Summary) -> Tokens | Summary:
    """Views bfloat16 patches as integers, the form in which they go to the device.

    XLA's CPU backend has no bfloat16 slices: it would widen all patches to float32
    before it cuts a chunk of them. Integers are sliced as they are. On other backends
    it makes no difference.
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
    """Undoes `pack`, inside a compiled function."""
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

    Attributes:
        ids: Names of the clips.
        labels: One where a class is in the clip, shape `[n, C]`.
        targets: The targets of the loss: the labels of clips or of time steps,
            shape `[n, T, C]`.
        weights: Weights of the examples, shape `[n]` or `[n, T]`; zero for masked time
            steps.
        events: Per clip, the known events as (class, onset, offset), in seconds.
        seconds_per_step: Length of the encoder's time step.
    """

    def __init__(
        self,
        stores: Sequence[TokenStore],
        input_kind: str,
        normaliser: FeatureNormaliser | None = None,
        *,
        frame_rule: str | None = None,
        cache: bool | None = None,
    ):
        """Joins the clips of `stores` in order.

        Args:
            stores: The token stores of the splits.
            input_kind: The kind of inputs that the probe reads, as `Reading.kind`.
            normaliser: Applied to all that is read.
            frame_rule: The rule that turns events into labels of time steps, then the
                examples (one of `metrics.frames.RULES`); None for labels of clips.
            cache: Whether to keep the tokens in memory; by default where they fit.
                Otherwise each batch is read from the store.
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
        if cache is None:
            needed = sum(store.nbytes(layers=self._layers) for store in stores)
            cache = memory.clips_fit_on_host(needed)
        if input_kind == "summary":
            self._cached = self._prepare(_join([s.summary() for s in stores]))
        elif input_kind == "layer_summary":
            self._cached = _join([s.layer_summary() for s in stores])
        elif cache:
            whole = (s.load(layers=self._layers) for s in stores)
            self._cached = _join([self._prepare(tokens) for tokens in whole])
        else:
            self._cached = None
        self._on_devices: dict[Mesh, Batch] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_cached(self) -> bool:
        """Whether this process has the clips in memory."""
        return self._cached is not None

    @property
    def is_framewise(self) -> bool:
        """Whether each time step is an example."""
        return self.targets.ndim == 3

    @property
    def valid_targets(self) -> Num[np.ndarray, "_ C"]:
        """The targets of all valid examples (clips or time steps) in a row."""
        return self.targets[self.weights > 0] if self.is_framewise else self.targets

    @property
    def valid_ids(self) -> list[str]:
        """The clip of each valid example (clip or time step) in a row."""
        if not self.is_framewise:
            return self.ids
        steps = (self.weights > 0).sum(1)
        return [
            i for i, count in zip(self.ids, steps, strict=True) for _ in range(count)
        ]

    def flatten_valid(
        self, logits: Float[np.ndarray, "n K *T C"]
    ) -> tuple[Float[np.ndarray, "_ K C"], Num[np.ndarray, "_ C"]]:
        """Logits and targets of all valid examples (clips or time steps) in a row."""
        if not self.is_framewise:
            return logits, self.valid_targets
        return np.moveaxis(logits, 1, 2)[self.weights > 0], self.valid_targets

    def on_devices(self, mesh: Mesh) -> Batch | None:
        """All clips, whole on every device of `mesh`; None where they do not fit.

        They are placed once; later calls return the same arrays.
        """
        if mesh not in self._on_devices:
            batch = needed = None
            if self._cached is not None:
                packed, targets = pack(self._cached), self.targets.astype(np.float32)
                batch = Batch(packed, targets, self.weights)
                needed = sum(x.nbytes for x in jax.tree.leaves(batch))
            fits = memory.clips_fit_on_devices(needed, mesh)
            if batch is None or not fits:
                return None
            self._on_devices[mesh] = distributed.replicate_read_only(batch, mesh)
        return self._on_devices[mesh]

    def read(self, rows: Int[np.ndarray, "B"]) -> Tokens | Summary:
        """What the probe reads of the clips `rows`, as host arrays."""
        if self._cached is not None:
            return jax.tree.map(lambda x: x[rows], self._cached)
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


@dataclass(frozen=True)
class ProtocolData:
    """The clips of one protocol. Each part is read when it is first asked for.

    Attributes:
        protocol: The splits to train, choose and test on.
        stores: The token store of each split, by the layer whose tokens it has; None
            for the last layer.
        standardise: Whether inputs are normalised with training statistics.
        frame_rule: The rule that makes labels of time steps; None for labels of clips.
    """

    protocol: Protocol
    stores: dict[int | None, dict[str, TokenStore]]
    standardise: bool
    frame_rule: str | None = None

    def development(self, reading: Reading) -> tuple[ProbeData, ProbeData]:
        """The training clips and the validation clips."""
        p = self.protocol
        return self._read(p.train, reading), self._read(p.validation, reading)

    def refit(self, reading: Reading) -> ProbeData:
        """Training and validation clips together."""
        p = self.protocol
        return self._read(p.train + p.validation, reading)

    def held_out(self, reading: Reading) -> ProbeData:
        """The test clips."""
        return self._read(self.protocol.test, reading)

    @functools.cached_property
    def normaliser(self) -> FeatureNormaliser | None:
        """Fitted to the training clips; None where the run does not normalise."""
        if not self.standardise:
            return None
        # Probes of other layers are not normalised, see `setup.check_probes`.
        return FeatureNormaliser.fit(
            [self.stores[None][s] for s in self.protocol.train]
        )

    @functools.cached_property
    def _made(self) -> dict[tuple[tuple[str, ...], Reading], ProbeData]:
        return {}

    def _read(self, splits: tuple[str, ...], reading: Reading) -> ProbeData:
        if (splits, reading) not in self._made:
            stores = [self.stores[reading.layer][s] for s in splits]
            self._made[splits, reading] = ProbeData(
                stores, reading.kind, self.normaliser, frame_rule=self.frame_rule
            )
        return self._made[splits, reading]


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
