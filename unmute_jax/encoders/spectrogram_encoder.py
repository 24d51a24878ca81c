"""What the built-in encoders share: a spectrogram first, then a network."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import frame_mask
from unmute_jax.encoders.base import Encoder, Geometry, Params
from unmute_jax.encoders.framing import Extent, Framing, join
from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens, mean_token

# How many tokens of several clips go through a network together on a CPU: fewer would
# read its weights for too little, more would not stay in the cache.
TOKENS_AT_ONCE = 512


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
class SpectrogramEncoder(Encoder):
    """An encoder in two steps, both pure functions of `params`.

    A new one defines `spectrogram` and `tokens`, and the facts marked abstract.
    Everything runs in float32 with full precision of matrix products, unless
    `precision` says otherwise.

    Attributes:
        framing: How clips of any length become inputs.
        mask_padding: Whether `Tokens.mask` leaves out time steps that hold no frame of
            the clip. The paper keeps all of them.
    """

    framing: Framing
    mask_padding: bool = False

    def __post_init__(self) -> None:
        most, frames = self._most_frames, self.framing.target_frames
        if most and frames and frames > most:
            raise InputError(
                f"{self.name} takes at most {most} frames; target_frames is {frames}"
            )

    # Facts -------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each frequency patch, lowest first."""

    @property
    def max_steps(self) -> int | None:
        """The most time steps that the network takes at once; None: any number."""
        return None

    @property
    def geometry(self) -> Geometry:
        """Where tokens lie in time and frequency."""
        shift = self.framing.frames_per_step * self.framing.filters.frame_shift
        return Geometry(
            seconds_per_step=shift / self.sample_rate,
            frequency_edges_hz=self.frequency_edges_hz,
        )

    def input_samples(self, clip_seconds: float) -> int:
        """See `Encoder`.

        Args:
            clip_seconds: Of the longest clip.

        Raises:
            InputError: That is shorter than a frame.
        """
        samples = round(clip_seconds * self.sample_rate)
        self._check_length(samples)
        return self.framing.input_samples(samples)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens where the longest clip is of so many seconds."""
        frames = self.framing.filters.num_frames(self.input_samples(clip_seconds))
        return self.framing.num_steps(frames), len(self.frequency_edges_hz)

    @property
    def num_layers(self) -> int:
        """L."""
        return self._num_layers

    @functools.cached_property
    def _num_layers(self) -> int:
        waveform = np.zeros((1, self.min_samples), np.float32)
        lengths = np.full(1, waveform.shape[1], np.int32)

        def every(params: Params) -> Any:
            return self.apply(params, waveform, lengths, all_layers=True).layers

        layers = jax.eval_shape(every, self.params)
        return 0 if layers is None else layers.shape[1]

    def identity(self) -> dict[str, Any]:
        """See `Encoder`."""
        return {
            **super().identity(),
            "mask_padding": self.mask_padding,
            **self.framing.identity(),
        }

    # Pure functions ----------------------------------------------------------

    @abc.abstractmethod
    def spectrogram(
        self,
        params: Params,
        waveform: Float[Array, "B S"],
        lengths: Int[Array, "B"],
    ) -> Float[Array, "B frames mels"]:
        """The normalised network input.

        Args:
            params: As of the encoder.
            waveform: As `framing.fit` gives it: zero behind each clip.
            lengths: Samples that belong to each clip.
        """

    @abc.abstractmethod
    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The tokens of one input each.

        Args:
            params: As of the encoder.
            spectrogram: Of at least one patch and at most `max_steps`.
            extent: How much of it is of its clip; None where nobody knows.
            all_layers: Whether to give `Tokens.layers` and `layer_cls` too.
        """

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
            fitted, extent = self.framing.fit(waveform, lengths)
            spectrogram = self.spectrogram(params, fitted, extent.lengths)
            return self._in_windows(params, spectrogram, extent, all_layers)

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
        return frame_mask(self.framing.real_steps(extent.lengths), shape[1])

    def band_mask(
        self, extent: Extent | None, shape: tuple[int, int, int]
    ) -> Bool[Array, "B T F"]:
        """`step_mask` for every band; `shape` is (B, T, F)."""
        steps = self.step_mask(extent, shape[:2])
        return jnp.broadcast_to(steps[:, :, None], shape)

    def _in_windows(
        self,
        params: Params,
        spectrogram: Array,
        extent: Extent | None,
        all_layers: bool,
    ) -> Tokens:
        """`tokens`; where there are several windows, of each and then joined."""
        windows = self.framing.num_windows(spectrogram.shape[1])
        held = None
        if windows > 1:
            spectrogram = self.framing.cut(spectrogram)
            if extent is not None:
                extent, held = self.framing.cut_extent(extent, windows)
        self._check_frames(*spectrogram.shape[1:])
        tokens = self.tokens(params, spectrogram, extent, all_layers=all_layers)
        return join(tokens, windows, held) if windows > 1 else tokens

    def _check_frames(self, frames: int, mels: int) -> None:
        """Refuses spectrograms that the network does not take."""
        least, most = self.framing.patch_frames, self._most_frames
        bands = self.framing.filters.num_mels
        if mels != bands or frames < least or (most and frames > most):
            allowed = f"{least} to {most}" if most else f"at least {least}"
            raise InputError(
                f"{self.name} takes {allowed} frames of {bands} mel bands; got "
                f"{frames} of {mels}"
            )

    @property
    def _most_frames(self) -> int | None:
        """The frames of `max_steps`, and those that fill no further step."""
        if self.max_steps is None:
            return None
        steps = self.max_steps * self.framing.frames_per_step
        return self.framing.patch_frames + steps - 1

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

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.apply, static_argnames="all_layers")

    @functools.cached_property
    def _spectrogram(self) -> Any:
        @jax.jit
        @jax.default_matmul_precision("highest")
        def spectrogram(params: Params, waveform: Any, lengths: Any) -> Array:
            fitted, extent = self.framing.fit(waveform, lengths)
            return self.spectrogram(params, fitted, extent.lengths)

        return spectrogram

    @functools.cached_property
    def _tokens(self) -> Any:
        @functools.partial(jax.jit, static_argnames="all_layers")
        @jax.default_matmul_precision("highest")
        def tokens(params: Params, spectrogram: Any, *, all_layers: bool) -> Tokens:
            return self._in_windows(params, spectrogram, None, all_layers)

        return tokens
