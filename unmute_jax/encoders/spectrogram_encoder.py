"""Implements encoders that compute a spectrogram and run a network on it."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import frame_mask
from unmute_jax.encoders.base import Encoder, Geometry, Params
from unmute_jax.encoders.framing import Extent, Framing, join
from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import Arr
from unmute_jax.ops.chunked import map_in_chunks
from unmute_jax.tokens import Tokens, mean_token
from unmute_jax.weights.encoder_weights import EncoderWeights

# How many tokens, over all clips, go through a network together on a CPU. With fewer,
# the weights would be read too often; with more, the cache would not hold them.
TOKENS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpectrogramEncoder(Encoder):
    """An encoder in two steps, both pure functions of `params`.

    A new encoder defines `spectrogram`, `tokens`, and the facts marked abstract. All
    computations are in float32 with full precision of matrix products, unless
    `precision` says otherwise.

    Attributes:
        framing: The rule that turns clips of any length into inputs.
        mask_padding: Whether `Tokens.mask` leaves out time steps that hold no frame of
            the clip. The paper keeps all time steps.
        network: The Flax module. A call gives the outputs of all blocks, and the
            feature; its method `classify` gives the class scores of fine-tuned weights.
            None for an encoder without weights.
    """

    framing: Framing
    mask_padding: bool = False
    network: Any

    def __post_init__(self) -> None:
        most, frames = self._max_frames, self.framing.target_frames
        if most and frames and frames > most:
            raise InputError(
                f"{self.name} takes at most {most} frames; target_frames is {frames}"
            )

    # Facts -------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, lowest first."""

    @property
    def max_steps(self) -> int | None:
        """The most time steps that the network takes at once; None for any number."""
        return None

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, in Hz."""
        return self.framing.filters.sample_rate

    @property
    def min_samples(self) -> int:
        """Length of the shortest clip with at least one real frame, in samples."""
        return self.framing.filters.min_samples

    @property
    def num_features(self) -> int:
        """D, the width of the network."""
        return self.network.sizes.width

    @property
    def geometry(self) -> Geometry:
        """Where tokens lie in time and frequency."""
        shift = self.framing.frames_per_step * self.framing.filters.frame_shift
        return Geometry(
            seconds_per_step=shift / self.sample_rate,
            frequency_edges_hz=self.frequency_edges_hz,
        )

    def input_samples(self, clip_seconds: float) -> int:
        """Length of the input of clips of up to `clip_seconds`, in samples.

        Raises:
            InputError: Such a clip is shorter than a frame.
        """
        samples = round(clip_seconds * self.sample_rate)
        self._check_length(samples)
        return self.framing.input_samples(samples)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of clips of up to `clip_seconds`."""
        frames = self.framing.filters.num_frames(self.input_samples(clip_seconds))
        return self.framing.num_steps(frames), len(self.frequency_edges_hz)

    @property
    def num_layers(self) -> int:
        """L, the number of blocks of the network."""
        return self._num_layers

    @functools.cached_property
    def _num_layers(self) -> int:
        waveform = np.zeros((1, self.min_samples), np.float32)
        lengths = np.full(1, waveform.shape[1], np.int32)

        def layers_of(params: Params) -> Any:
            return self.apply(params, waveform, lengths, all_layers=True).layers

        layers = jax.eval_shape(layers_of, self.params)
        return 0 if layers is None else layers.shape[1]

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform."""
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
        """Computes the normalised network input.

        Args:
            params: Parameters of the encoder.
            waveform: Waveforms as `framing.fit` returns them: zero behind each clip.
            lengths: Number of samples of each clip.
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
        """Computes the tokens of each spectrogram.

        Args:
            params: Parameters of the encoder.
            spectrogram: Network inputs of at least one patch and at most `max_steps`.
            extent: The part of each input that belongs to its clip; None if unknown.
            all_layers: Whether to set `Tokens.layers` and `layer_cls` too.
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

        Clips with fewer than `min_samples` samples count as padding throughout.
        """
        with jax.default_matmul_precision("highest"):
            fitted, extent = self.framing.fit(waveform, lengths)
            spectrogram = self.spectrogram(params, fitted, extent.lengths)
            return self._in_windows(params, spectrogram, extent, all_layers)

    def run_network(
        self,
        params: Params,
        inputs: tuple[Array | None, ...],
        *,
        tokens_per_clip: int,
        all_layers: bool,
    ) -> tuple[list[Array], Array]:
        """Runs the network on a batch, on a CPU for a few clips at a time.

        Args:
            params: Parameters of the network.
            inputs: Arguments of the network; the first axis of each is B.
            tokens_per_clip: Number of tokens of a clip.
            all_layers: Whether to return the outputs of the blocks.

        Returns:
            The outputs of all blocks, or an empty list, and the feature.
        """

        def run(params: Params, *inputs: Array | None) -> tuple[list[Array], Array]:
            outputs = self.network.apply({"params": params}, *inputs)
            blocks, feature = cast(tuple[list[Array], Array], outputs)
            return blocks if all_layers else [], feature

        size = TOKENS_AT_ONCE // tokens_per_clip
        return map_in_chunks(run, params, inputs, size=size)

    def step_mask(
        self, extent: Extent | None, shape: tuple[int, int]
    ) -> Bool[Array, "B T"]:
        """A mask that is false for the time steps that `mask_padding` leaves out.

        Args:
            extent: The part of each input that belongs to its clip; None if unknown.
            shape: (B, T).
        """
        if extent is None or not self.mask_padding:
            return jnp.ones(shape, bool)
        return frame_mask(self.framing.real_steps(extent.lengths), shape[1])

    def token_mask(
        self, extent: Extent | None, shape: tuple[int, int, int]
    ) -> Bool[Array, "B T F"]:
        """`step_mask` for all frequency patches; `shape` is (B, T, F)."""
        steps = self.step_mask(extent, shape[:2])
        return jnp.broadcast_to(steps[:, :, None], shape)

    def _in_windows(
        self,
        params: Params,
        spectrogram: Array,
        extent: Extent | None,
        all_layers: bool,
    ) -> Tokens:
        """The tokens of spectrograms, which are cut into windows where necessary."""
        windows = self.framing.num_windows(spectrogram.shape[1])
        is_real = None
        if windows > 1:
            spectrogram = self.framing.cut(spectrogram)
            if extent is not None:
                extent, is_real = self.framing.cut_extent(extent, windows)
        self._check_frames(*spectrogram.shape[1:])
        tokens = self.tokens(params, spectrogram, extent, all_layers=all_layers)
        return join(tokens, windows, is_real) if windows > 1 else tokens

    def _check_frames(self, frames: int, mels: int) -> None:
        """Refuses spectrograms that the network does not take."""
        least, most = self.framing.patch_frames, self._max_frames
        bands = self.framing.filters.num_mels
        if mels != bands or frames < least or (most and frames > most):
            allowed = f"{least} to {most}" if most else f"at least {least}"
            raise InputError(
                f"{self.name} takes {allowed} frames of {bands} mel bands; got "
                f"{frames} of {mels}"
            )

    @property
    def _max_frames(self) -> int | None:
        """The most frames that fit in `max_steps`."""
        if self.max_steps is None:
            return None
        # Frames that do not fill a further step are dropped.
        steps = self.max_steps * self.framing.frames_per_step
        return self.framing.patch_frames + steps - 1

    # Calls on arrays ---------------------------------------------------------

    def __call__(
        self, waveform: Any, lengths: Any = None, *, all_layers: bool = False
    ) -> Tokens:
        """Encodes a batch of clips.

        Args:
            waveform: Waveforms in [-1, 1] at `sample_rate`, shape `[B, S]`.
            lengths: Number of samples of each clip, shape `[B]`; what lies behind them
                is padding. None if all samples belong to their clips.
            all_layers: Whether to set `Tokens.layers` and `layer_cls` too.

        Raises:
            InputError: The waveform has another shape or type, or a clip is shorter
                than `min_samples`.
        """
        arrays = self._checked(waveform, lengths)
        return self._apply(self.params, *arrays, all_layers=all_layers)

    def frontend(
        self, waveform: Any, lengths: Any = None
    ) -> Float[Array, "B frames mels"]:
        """Computes the spectrograms of a batch of clips, see `__call__`."""
        return self._spectrogram(self.params, *self._checked(waveform, lengths))

    def encode(
        self, spectrogram: Float[Arr, "B frames mels"], *, all_layers: bool = False
    ) -> Tokens:
        """Computes the tokens of normalised spectrograms; nothing is masked.

        Raises:
            InputError: The spectrogram does not fit the network.
        """
        return self._tokens(self.params, spectrogram, all_layers=all_layers)

    def head_input(self, tokens: Tokens) -> Float[Array, "B D"]:
        """The array that the head of fine-tuned weights reads: `cls` by default."""
        return jnp.asarray(tokens.cls)

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Class scores before the sigmoid, from the head of fine-tuned weights.

        Raises:
            InputError: The weights hold no head.
        """
        if self.network is None or self.network.sizes.classes is None:
            return super().logits(tokens)
        with jax.default_matmul_precision("highest"):
            variables, x = {"params": self.params}, self.head_input(tokens)
            return cast(Array, self.network.apply(variables, x, method="classify"))

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


def weights_fields(weights: EncoderWeights) -> dict[str, Any]:
    """The fields of an encoder that describe its weights."""
    return {
        "description": weights.description,
        "licence": weights.licence,
        "weights": weights.identity,
        "params": weights.params,
        "classes": weights.classes,
    }


def mean_tokens(
    patches: Float[Array, "B T F D"],
    mask: Bool[Arr, "B T F"],
    layers: list[Float[Array, "B T F D"]] | None,
) -> Tokens:
    """The `Tokens` of an encoder without a class token: means take its place.

    Args:
        patches: Patch tokens of the last layer.
        mask: The tokens that enter the means. A time step is real if any of its tokens
            is in the mask.
        layers: Outputs of all blocks if they are wanted, otherwise None.
    """
    means = [mean_token(x, mask) for x in layers or []]
    return Tokens(
        patches=patches,
        cls=mean_token(patches, mask),
        mask=jnp.asarray(mask).any(2),
        layers=jnp.stack(layers, axis=1) if layers else None,
        layer_cls=jnp.stack(means, axis=1) if layers else None,
    )
