"""What gives tokens, and what every encoder is: plain facts and a pure function."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from unmute_jax import distributed
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens

Params = Any


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where a token lies in the clip.

    Attributes:
        seconds_per_step: From the start of one time step to the start of the next.
        frequency_edges_hz: (low, high) of each frequency patch, lowest first.
    """

    seconds_per_step: float
    frequency_edges_hz: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenSource(abc.ABC):
    """Where the tokens of clips come from: an encoder, or what one has left on disk.

    Attributes:
        name: As in the registry, or what stands for it.
        description: For people: which weights these are.
        licence: Of the weights.
        code: A digest of its code, where no test of ours watches that; else empty.
    """

    name: str
    description: str
    licence: str
    code: str = dataclasses.field(default="", repr=False)

    @property
    @abc.abstractmethod
    def num_features(self) -> int:
        """D, the width of a token."""

    @property
    @abc.abstractmethod
    def geometry(self) -> Geometry:
        """Where tokens lie in time and frequency."""

    @property
    def num_layers(self) -> int:
        """L, how many layers it gives on request; 0 where it keeps them to itself."""
        return 0

    @abc.abstractmethod
    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of such a clip."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a clip: part of every cache key."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoder(TokenSource):
    """A frozen encoder: calling it turns waveforms into `Tokens`.

    It is a pure function of `params`, `apply`, and the facts marked abstract. `apply`
    is compiled once per input shape, with `params` as an argument.

    Attributes:
        version: Raised whenever the numbers change for the same input and weights.
        min_samples: The shortest clip with at least one real frame.
        sample_rate: Of the waveforms, in Hz; usually set by the class.
        weights: "sha256:..." of the file, or how the weights were made.
        params: A nested dict of float32 arrays; bfloat16 for products in bfloat16.
        classes: Names of the outputs of `logits`; none without a head.
        precision: Of products.
    """

    version: ClassVar[int]
    min_samples: ClassVar[int]

    sample_rate: int = dataclasses.field(init=False)
    weights: str
    params: Params = dataclasses.field(repr=False)
    classes: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    precision: str = "float32, matmul highest"

    @abc.abstractmethod
    def details(self) -> dict[str, Any]:
        """Sizes and front-end options, JSON values: what `identity` adds."""

    @abc.abstractmethod
    def input_samples(self, clip_seconds: float) -> int:
        """Samples to deliver per clip so that one compilation serves all clips.

        Shorter clips are zero-padded at the end to this, longer ones cropped, and
        their real length is passed as `lengths`.
        """

    def clip_input(self, clip_seconds: float) -> ClipInput:
        """The input that clips of up to `clip_seconds` become."""
        return ClipInput(self.input_samples(clip_seconds))

    @abc.abstractmethod
    def apply(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Tokens:
        """`__call__` as a pure function, to be compiled by the caller.

        Clips with fewer than `min_samples` samples are all padding.
        """

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform: part of every cache key."""
        return {
            "name": self.name,
            "version": self.version,
            "weights": self.weights,
            "precision": self.precision,
            **self.details(),
        }

    def on(
        self, mesh: Mesh, *, all_layers: bool = False
    ) -> Callable[[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]], Tokens]:
        """The encoder at work on `mesh`; B must be a multiple of its devices.

        What it is given is not looked at, unlike what `__call__` is. `all_layers` is
        for encoders that have `num_layers`.
        """
        params = distributed.replicate(self.params, mesh)
        wishes = {"all_layers": True} if all_layers else {}

        def run(
            waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
        ) -> Tokens:
            clips = distributed.shard((waveform, lengths), mesh)
            return self._apply(params, *clips, **wishes)

        return run

    def __call__(self, waveform: Any, lengths: Any = None) -> Tokens:
        """The tokens of a batch of clips.

        Args:
            waveform: `[B, S]` float in [-1, 1] at `sample_rate`.
            lengths: `[B]` samples that belong to each clip, the rest is padding;
                None, all of them.

        Raises:
            InputError: The waveform has another shape or type, or a clip is shorter
                than `min_samples`.
        """
        return self._apply(self.params, *self._checked(waveform, lengths))

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Class scores, before the sigmoid, of the head that came with the weights.

        Raises:
            InputError: The weights hold no head.
        """
        raise InputError(f"{self.description} has no classification head")

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.apply)

    def _checked(self, waveform: Any, lengths: Any) -> tuple[Any, Any]:
        """`waveform` as float32 and `lengths` as int32, or a clear refusal."""
        shape, dtype = np.shape(waveform), getattr(waveform, "dtype", None)
        if len(shape) != 2 or not np.issubdtype(dtype or np.float64, np.floating):
            raise InputError(
                f"{self.name} takes waveforms of shape [clips, samples] in [-1, 1], "
                f"floating point; got shape {list(shape)} of {dtype}"
            )
        b, samples = shape
        if lengths is None:
            lengths = np.full(b, samples)
        lengths = np.asarray(lengths)
        if lengths.shape != (b,) or lengths.max(initial=0) > samples:
            raise InputError(
                f"lengths must be {b} numbers up to {samples}, one per clip; "
                f"got {lengths.tolist()}"
            )
        self._check_length(int(lengths.min(initial=samples)))
        return jnp.asarray(waveform, jnp.float32), jnp.asarray(lengths, jnp.int32)

    def _check_length(self, shortest: int) -> None:
        """Refuses clips without a frame; `shortest` is in samples."""
        if shortest < self.min_samples:
            raise InputError(
                f"{self.name} needs clips of at least {self.min_samples} samples at "
                f"{self.sample_rate} Hz; the shortest here has {shortest}"
            )
