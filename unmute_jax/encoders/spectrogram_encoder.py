"""What the built-in encoders share: a spectrogram first, then a network."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.encoders.base import Encoder, Params
from unmute_jax.frontends import frame_mask
from unmute_jax.tokens import Arr, Tokens, mean_token

# How many tokens of several clips go through a network together on a CPU: fewer would
# read its weights for too little, more would not stay in the cache.
TOKENS_AT_ONCE = 512


class Extent(NamedTuple):
    """How much of each input is of its clip.

    Attributes:
        lengths: `[B]`, samples that belong to the clip; padding lies behind them.
        samples: Of the whole input.
    """

    lengths: Int[Arr, "B"]
    samples: int


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
        mask_padding: Whether `Tokens.mask` leaves out time steps that hold no frame of
            the clip. The paper keeps all of them.
    """

    mask_padding: bool = False

    @property
    @abc.abstractmethod
    def frames_per_step(self) -> int:
        """Frames from one time step to the next."""

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

    @property
    def num_layers(self) -> int:
        """L."""
        return self._num_layers

    @functools.cached_property
    def _num_layers(self) -> int:
        samples = self.input_samples(self.min_samples / self.sample_rate)
        # One second is enough for a patch of every encoder.
        waveform = np.zeros((1, max(samples, self.sample_rate)), np.float32)
        lengths = np.full(1, waveform.shape[1], np.int32)

        def every(params: Params) -> Any:
            return self.apply(params, waveform, lengths, all_layers=True).layers

        layers = jax.eval_shape(every, self.params)
        return 0 if layers is None else layers.shape[1]

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

    def identity(self) -> dict[str, Any]:
        """See `Encoder`."""
        return {**super().identity(), "mask_padding": self.mask_padding}

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
        return jax.jit(jax.default_matmul_precision("highest")(self.spectrogram))

    @functools.cached_property
    def _tokens(self) -> Any:
        @functools.partial(jax.jit, static_argnames="all_layers")
        @jax.default_matmul_precision("highest")
        def tokens(params: Params, spectrogram: Any, *, all_layers: bool) -> Tokens:
            return self.tokens(params, spectrogram, None, all_layers=all_layers)

        return tokens
