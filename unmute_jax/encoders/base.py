"""What every encoder is: two pure functions of its parameters, and plain facts."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.errors import InputError
from unmute_jax.frontends import frame_mask
from unmute_jax.tokens import Arr, Tokens

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


class Extent(NamedTuple):
    """How much of each input is of its clip.

    Attributes:
        lengths: `[B]`, samples that belong to the clip; padding lies behind them.
        samples: Of the whole input.
    """

    lengths: Int[Arr, "B"]
    samples: int


def mean_token(
    patches: Float[Arr, "B T F D"], mask: Bool[Arr, "B T F"]
) -> Float[Array, "B D"]:
    """Mean over the tokens in `mask`: what stands in for a missing class token."""
    count = jnp.maximum(mask.sum((1, 2)), 1).astype(jnp.float32)
    counted = jnp.where(jnp.asarray(mask)[..., None], patches, 0.0)
    return counted.sum((1, 2)) / count[:, None]


def mean_tokens(
    patches: Float[Array, "B T F D"],
    mask: Bool[Arr, "B T F"],
    layers: list[Float[Array, "B T F D"]] | None,
) -> Tokens:
    """The `Tokens` of an encoder without a class token: means take its place.

    Args:
        patches: Of the last layer.
        mask: The tokens that the means are over; a time step is real where one is.
        layers: Outputs of all blocks, where they are wanted.
    """
    means = [mean_token(x, mask) for x in layers or []]
    return Tokens(
        patches=patches,
        cls=mean_token(patches, mask),
        mask=jnp.asarray(mask).any(2),
        layers=jnp.stack(layers, axis=1) if layers else None,
        layer_cls=jnp.stack(means, axis=1) if layers else None,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoder(abc.ABC):
    """A frozen encoder: calling it turns waveforms into `Tokens`.

    A new encoder defines `spectrogram` and `tokens`, both pure functions of `params`,
    and the facts marked abstract. Everything runs in float32 with full precision of
    matrix products, compiled once per input shape with `params` as an argument.

    Attributes:
        version: Raised whenever the numbers change for the same input and weights.
        sample_rate: Of the waveforms, in Hz.
        min_samples: The shortest clip with at least one real frame.
        name: As in the registry.
        description: For people: which weights these are.
        licence: Of the weights.
        weights: "sha256:..." of the file, or how the weights were made.
        params: A nested dict of float32 arrays.
        classes: Names of the outputs of `logits`; none without a head.
        mask_padding: Whether `Tokens.mask` leaves out time steps that hold no frame of
            the clip. The paper keeps all of them.
    """

    version: ClassVar[int]
    sample_rate: ClassVar[int]
    min_samples: ClassVar[int]

    name: str
    description: str
    licence: str
    weights: str
    params: Params = dataclasses.field(repr=False)
    classes: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    mask_padding: bool = False

    # Facts -------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def num_features(self) -> int:
        """D, the width of a token."""

    @property
    @abc.abstractmethod
    def geometry(self) -> Geometry:
        """Where tokens lie in time and frequency."""

    @property
    @abc.abstractmethod
    def frames_per_step(self) -> int:
        """Frames from one time step to the next."""

    @abc.abstractmethod
    def details(self) -> dict[str, Any]:
        """Sizes and front-end options, JSON values: what `identity` adds."""

    @abc.abstractmethod
    def input_samples(self, clip_seconds: float) -> int:
        """Samples to deliver per clip so that one compilation serves all clips.

        Shorter clips are zero-padded at the end to this, longer ones cropped, and
        their real length is passed as `lengths`.
        """

    @abc.abstractmethod
    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of such a clip."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform: part of every cache key."""
        return {
            "name": self.name,
            "version": self.version,
            "weights": self.weights,
            "precision": "float32, matmul highest",
            "mask_padding": self.mask_padding,
            **self.details(),
        }

    # Pure functions ----------------------------------------------------------

    @abc.abstractmethod
    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Frames that hold nothing but samples of the clip."""

    @abc.abstractmethod
    def spectrogram(
        self,
        params: Params,
        waveform: Float[Arr, "B S"],
        lengths: Int[Arr, "B"],
    ) -> Float[Array, "B frames mels"]:
        """The normalised network input."""

    @abc.abstractmethod
    def tokens(
        self,
        params: Params,
        spectrogram: Float[Arr, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """Tokens of `spectrogram`; `extent` is None where nobody knows of padding."""

    def apply(
        self,
        params: Params,
        waveform: Float[Arr, "B S"],
        lengths: Int[Arr, "B"],
        *,
        all_layers: bool = False,
    ) -> Tokens:
        """`__call__` as a pure function, to be compiled by the caller.

        Clips with fewer than `min_samples` samples are all padding.
        """
        with jax.default_matmul_precision("highest"):
            spectrogram = self.spectrogram(params, waveform, lengths)
            extent = Extent(lengths, waveform.shape[1])
            return self.tokens(params, spectrogram, extent, all_layers=all_layers)

    def step_mask(
        self, extent: Extent | None, shape: tuple[int, int]
    ) -> Bool[Array, "B T"]:
        """True for time steps that hold a real frame, or that nobody wants masked.

        Args:
            extent: As of `tokens`.
            shape: (B, T).
        """
        if extent is None or not self.mask_padding:
            return jnp.ones(shape, bool)
        steps = -(-self.real_frames(extent.lengths) // self.frames_per_step)
        return frame_mask(steps, shape[1])

    def band_mask(
        self, extent: Extent | None, shape: tuple[int, int, int]
    ) -> Bool[Array, "B T F"]:
        """`step_mask` for every band; `shape` is (B, T, F)."""
        steps = self.step_mask(extent, shape[:2])
        return jnp.broadcast_to(steps[:, :, None], shape)

    # For people --------------------------------------------------------------

    def __call__(
        self, waveform: Any, lengths: Any = None, *, all_layers: bool = False
    ) -> Tokens:
        """The tokens of a batch of clips.

        Args:
            waveform: `[B, S]` float in [-1, 1] at `sample_rate`.
            lengths: `[B]` samples that belong to each clip, the rest is padding;
                None, all of them.
            all_layers: Whether to give `Tokens.layers` and `layer_cls` too.

        Raises:
            InputError: The waveform has another shape or type, or a clip is shorter
                than `min_samples`.
        """
        arrays = self._checked(waveform, lengths)
        return self._apply(self.params, *arrays, all_layers=all_layers)

    def frontend(
        self, waveform: Any, lengths: Any = None
    ) -> Float[Array, "B frames mels"]:
        """The spectrogram of a batch of clips; arguments as of `__call__`."""
        return self._spectrogram(self.params, *self._checked(waveform, lengths))

    def encode(
        self, spectrogram: Float[Arr, "B frames mels"], *, all_layers: bool = False
    ) -> Tokens:
        """The tokens of normalised spectrograms; nothing is masked.

        Raises:
            InputError: The spectrogram does not fit the network.
        """
        return self._tokens(self.params, spectrogram, all_layers=all_layers)

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Class scores, before the sigmoid, of the head that came with the weights.

        Raises:
            InputError: The weights hold no head.
        """
        raise InputError(f"{self.description} has no classification head")

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.apply, static_argnames="all_layers")

    @functools.cached_property
    def _spectrogram(self) -> Any:
        return jax.jit(jax.default_matmul_precision("highest")(self.spectrogram))

    @functools.cached_property
    def _tokens(self) -> Any:
        @functools.partial(jax.jit, static_argnames="all_layers")
        @jax.default_matmul_precision("highest")
        def tokens(params: Params, spectrogram: Any, *, all_layers: bool) -> Tokens:
            return self.tokens(params, spectrogram, None, all_layers=all_layers)

        return tokens

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
        shortest = lengths.min(initial=samples)
        if shortest < self.min_samples:
            raise InputError(
                f"{self.name} needs clips of at least {self.min_samples} samples at "
                f"{self.sample_rate} Hz; the shortest here has {shortest}"
            )
        return jnp.asarray(waveform, jnp.float32), jnp.asarray(lengths, jnp.int32)
