"""Defines what an encoder is: facts about its tokens and a pure function."""

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
        seconds_per_step: Seconds from the start of one time step to that of the next.
        frequency_edges_hz: (low, high) in Hz of each frequency patch, lowest first.
    """

    seconds_per_step: float
    frequency_edges_hz: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenSource(abc.ABC):
    """A source of tokens: an encoder, or tokens that another program has exported.

    Attributes:
        is_hashed: Whether `identity` covers everything that changes the tokens. Where
            it does not, one clip is embedded again whenever cached tokens are reused.
        name: The name in the registry, or what stands for it.
        description: A description of the weights for people.
        licence: The licence of the weights.
        code: A digest of the encoder's code where that code is not part of this
            package; empty otherwise.
    """

    is_hashed: ClassVar[bool] = True

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
        """L, the number of layers that are given on request; 0 if none are."""
        return 0

    @abc.abstractmethod
    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of clips of up to `clip_seconds`."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a clip, as a part of every cache key.

        The names in it are stored with the tokens and must not change.
        """


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoder(TokenSource):
    """A frozen encoder: calling it turns waveforms into `Tokens`.

    It is a pure function of `params`, `apply`, and the facts marked abstract. `apply`
    is compiled once per input shape, with `params` as an argument.

    Attributes:
        version: Number that is raised whenever the same input and weights give other
            tokens than before.
        weights: "sha256:..." of the weights file, or how the weights were made.
        params: Parameters as a nested dict of float32 arrays; some are bfloat16 where
            products are computed in bfloat16.
        classes: Names of the outputs of `logits`; empty without a head, or if unknown.
        precision: Precision of the products in the network.
    """

    version: ClassVar[int]

    weights: str
    params: Params = dataclasses.field(repr=False)
    classes: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    precision: str = "float32, matmul highest"

    @property
    @abc.abstractmethod
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, in Hz."""

    @property
    @abc.abstractmethod
    def min_samples(self) -> int:
        """Length of the shortest clip that has a token of its own, in samples."""

    @abc.abstractmethod
    def details(self) -> dict[str, Any]:
        """Sizes and front-end options as JSON values: the encoder's part of `identity`.

        The names in it are stored with the tokens and must not change.
        """

    @abc.abstractmethod
    def input_samples(self, clip_seconds: float) -> int:
        """Length of the input of clips of up to `clip_seconds`, in samples.

        All clips of a data set get inputs of this length, so that one compiled program
        serves them all. `clip_input` says what becomes of shorter and longer clips.
        """

    def clip_input(self, clip_seconds: float) -> ClipInput:
        """How clips become inputs, where the longest clip has `clip_seconds`."""
        return ClipInput(self.input_samples(clip_seconds))

    @abc.abstractmethod
    def apply(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Tokens:
        """`__call__` as a pure function, to be compiled by the caller.

        Clips with fewer than `min_samples` samples count as padding throughout.
        """

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform."""
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
        """Returns a function that encodes batches on all devices of `mesh`.

        The batch size must be a multiple of the number of devices. Unlike `__call__`,
        the function does not check its arguments.

        Args:
            mesh: The devices.
            all_layers: Whether to return the outputs of all layers too, for encoders
                with `num_layers` > 0.
        """
        params = distributed.replicate(self.params, mesh)
        options = {"all_layers": True} if all_layers else {}

        def run(
            waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
        ) -> Tokens:
            clips = distributed.shard((waveform, lengths), mesh)
            return self._apply(params, *clips, **options)

        return run

    def __call__(self, waveform: Any, lengths: Any = None) -> Tokens:
        """Encodes a batch of clips.

        Args:
            waveform: Waveforms in [-1, 1] at `sample_rate`, shape `[B, S]`.
            lengths: Number of samples of each clip, shape `[B]`; what lies behind them
                is padding. None if all samples belong to their clips.

        Raises:
            InputError: The waveform has another shape or type, or a clip is shorter
                than `min_samples`.
        """
        return self._apply(self.params, *self._checked(waveform, lengths))

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Class scores before the sigmoid, from the head of fine-tuned weights.

        Raises:
            InputError: The weights hold no head.
        """
        raise InputError(f"{self.description} has no classification head")

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.apply)

    def _checked(self, waveform: Any, lengths: Any) -> tuple[Any, Any]:
        """The arguments of `__call__` as float32 and int32, once they are valid."""
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
        """Refuses clips of fewer than `min_samples` samples."""
        if shortest < self.min_samples:
            raise InputError(
                f"{self.name} needs clips of at least {self.min_samples} samples at "
                f"{self.sample_rate} Hz; the shortest here has {shortest}"
            )
