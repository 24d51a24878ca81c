"""Decides how long inputs are, and turns their samples into frames and time steps.

Clips that are encoded together get inputs of one length, and so share one compiled
program. The length depends on the longest clip and on the length policy:

- "pad": the input is as long as the target. Shorter clips are padded, longer ones are
  cut off.
- "repeat": the input is as long as the target. Shorter clips are repeated until they
  fill it, longer ones are cut off.
- "crop": like "pad", but if no clip reaches the target, the input is only as long as
  the longest clip.
- "window": a clip longer than the target is cut into windows of that length. Each
  window is encoded on its own, and the tokens are joined along time; the last window is
  padded. A window begins where the tokens of the previous one end, so that no time is
  lost or counted twice.

The target is a number of frames. Without one, it is the length of the longest clip, or
`WINDOW_FRAMES` for "window". A clip shorter than a patch is padded to one. All encoders
pad by default, to the following lengths:

    EAT, SSLAM, AudioMAE, ASiT    1024 frames, or what the `recipe` says
    BEATs, Dasheng, logmel        the longest clip of the data set

The authors of the encoders treat data sets as follows:

    AudioSet, 10 s            padded to 1024 frames; `recipe=audioset`, the default
    ESC-50, 5 s               padded to 512 (EAT, AudioMAE); `recipe=esc50`
    Speech Commands, 1 s      padded to 128 (EAT, AudioMAE); `recipe=speech_commands`
    SPASS, 10 s               padded to 1024 (SSLAM); `recipe=spass`
    FSD50K, 0.3 to 30 s       unknown; other work crops to 10 s, as "pad" with 1024
                              frames does, while "window" uses the whole clip
    birds, windows of 5 s     unknown for these encoders; `target_frames=512` fits

BEATs and Dasheng take every clip at its own length. Custom encoders (see `custom`)
define the length of their inputs themselves and have no length policy.

Repeated sound counts as real: none of its time steps are masked.

The content of padding depends on the encoder: raw log-mels of zero in EAT, SSLAM,
AudioMAE, ASiT and logmel; silence in BEATs and Dasheng, and in the pre-training of
ASiT. Padding takes part like any sound, as in the paper: time steps that hold nothing
else are tokens that a probe may match. `mask_padding` masks them. Windows that lie
wholly behind their clip are always masked, because the clip alone would not have them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens

POLICIES = ("pad", "repeat", "crop", "window")

# The length of windows without a target: ten seconds.
WINDOW_FRAMES = 1000


@runtime_checkable
class FilterBank(Protocol):
    """A front end that turns samples into frames of mel bands."""

    @property
    def sample_rate(self) -> int:
        """Rate of the samples, in Hz."""
        ...

    @property
    def frame_shift(self) -> int:
        """Samples from the start of one frame to that of the next."""
        ...

    @property
    def num_mels(self) -> int:
        """Number of mel bands of a frame."""
        ...

    @property
    def min_samples(self) -> int:
        """Length of the shortest clip with at least one real frame."""
        ...

    def num_frames(self, samples: int) -> int:
        """Number of frames of `samples` samples."""
        ...

    def num_samples(self, frames: int) -> int:
        """The smallest number of samples that gives `frames` frames."""
        ...

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Number of frames that hold nothing but the first `lengths` samples."""
        ...


class Extent(NamedTuple):
    """How much of each input belongs to its clip.

    Attributes:
        lengths: Number of samples that belong to each clip, `[B]`; the rest of the
            input is padding.
        samples: Length of the whole input, in samples.
    """

    lengths: Int[Array, "B"]
    samples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Framing:
    """Maps samples to frames and frames to time steps, for clips of any length.

    Attributes:
        filters: The front end, which cuts samples into frames.
        patch_frames: Number of frames of a patch.
        frames_per_step: Frames from the start of one time step to that of the next.
        policy: One of `POLICIES`, see above.
        target_frames: Target of the policy in frames, or None, see above.

    Raises:
        InputError: The policy is unknown, or the target is shorter than a patch.
    """

    filters: FilterBank
    patch_frames: int
    frames_per_step: int
    policy: str = "pad"
    target_frames: int | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise unknown_name("length policy", self.policy, POLICIES)
        if self.target_frames is not None and self.target_frames < self.patch_frames:
            raise InputError(
                f"target_frames must be at least {self.patch_frames}, not "
                f"{self.target_frames}"
            )

    def identity(self) -> dict[str, Any]:
        """The settings that change tokens; other attributes follow from the encoder.

        Empty for inputs that are as long as the longest clip, so that the keys of older
        stores hold.
        """
        if self.policy == "pad" and self.target_frames is None:
            return {}
        windowed = self.policy == "window"
        target = self._window_target if windowed else self.target_frames
        return {"lengths": {"policy": self.policy, "target_frames": target}}

    def num_steps(self, frames: int) -> int:
        """Number of whole patches along `frames` frames."""
        return max(0, 1 + (frames - self.patch_frames) // self.frames_per_step)

    def real_steps(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Number of time steps that hold at least one real frame."""
        return -(-self.filters.real_frames(lengths) // self.frames_per_step)

    def input_samples(self, samples: int) -> int:
        """Length of the input for clips of up to `samples` samples."""
        num_samples = self.filters.num_samples
        patch = num_samples(self.patch_frames)
        if self.policy == "window":
            windows = self.num_windows(self.filters.num_frames(samples))
            return num_samples(self._frames_of(windows))
        if self.target_frames is None:
            return max(samples, patch)
        target = num_samples(self.target_frames)
        return max(patch, min(samples, target)) if self.policy == "crop" else target

    def fit(
        self, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> tuple[Float[Array, "B R"], Extent]:
        """Applies the length policy to waveforms, as part of a compiled program.

        Args:
            waveform: Waveforms of the clips, with anything behind their ends.
            lengths: Number of samples of each clip.

        Returns:
            Waveforms of `input_samples(S)` samples, silent behind the end of each clip,
            and how much of them is real. Repeated sound counts as real.
        """
        waveform, lengths = jnp.asarray(waveform), jnp.asarray(lengths)
        samples = self.input_samples(waveform.shape[1])
        waveform, heard = ClipInput(samples).of_batch(waveform, lengths)
        if self.policy == "repeat":
            places = jnp.arange(samples)[None, :] % jnp.maximum(heard, 1)[:, None]
            repeated = jnp.take_along_axis(waveform, places, axis=1)
            # A clip that is too short for a frame stays padding.
            whole = heard >= self.filters.min_samples
            waveform = jnp.where(whole[:, None], repeated, waveform)
            heard = jnp.where(whole, samples, heard)
        return waveform, Extent(heard, samples)

    # Windows -----------------------------------------------------------------

    def num_windows(self, frames: int) -> int:
        """Number of windows, at least 1, that hold all whole patches of the frames."""
        if self.policy != "window":
            return 1
        return max(1, -(-self.num_steps(frames) // self._window_steps))

    def cut(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "W window mels"]:
        """Cuts spectrograms into windows; the windows of a clip follow each other.

        Raises:
            InputError: The spectrogram is too short for its last window.
        """
        b, frames, mels = spectrogram.shape
        windows, length = self.num_windows(frames), self._frames_of(1)
        if frames < self._frames_of(windows):
            raise InputError(
                f"windows take {length} frames, two of them {self._frames_of(2)}, and "
                f"so on; got {frames}"
            )
        parts = [spectrogram[:, s : s + length] for s in self._starts(windows)]
        return jnp.stack(parts, axis=1).reshape(b * windows, length, mels)

    def cut_extent(
        self, extent: Extent, windows: int
    ) -> tuple[Extent, Bool[Array, "W"]]:
        """How much of each window belongs to its clip, and whether the clip has it.

        A clip has its first window, and every other window in which it fills at least
        one patch.
        """
        samples = self.filters.num_samples(self._frames_of(1))
        starts = np.array(self._starts(windows)) * self.filters.frame_shift
        rest = jnp.asarray(extent.lengths)[:, None] - starts.astype(np.int32)[None, :]
        lengths = jnp.clip(rest, 0, samples).reshape(-1)
        filled = self.filters.real_frames(lengths) >= self.patch_frames
        first = np.tile(starts == 0, len(rest))
        return Extent(lengths, samples), filled | first

    @property
    def _window_target(self) -> int:
        return self.target_frames or WINDOW_FRAMES

    @property
    def _window_steps(self) -> int:
        return self.num_steps(self._window_target)

    def _starts(self, windows: int) -> list[int]:
        """The first frame of each window."""
        return [k * self._window_steps * self.frames_per_step for k in range(windows)]

    def _frames_of(self, windows: int) -> int:
        """The smallest number of frames that holds `windows` windows."""
        steps = windows * self._window_steps
        return (steps - 1) * self.frames_per_step + self.patch_frames


def join(tokens: Tokens, windows: int, is_real: Bool[Arr, "W"] | None) -> Tokens:
    """Joins the tokens of windows to those of whole clips.

    Class tokens are averaged, each weighted by the number of unmasked time steps of its
    window, so that a mean over tokens stays the mean over all tokens.

    Args:
        tokens: Tokens of the windows; the windows of a clip follow each other.
        windows: Number of windows of each clip.
        is_real: Whether the clip has each window, see `Framing.cut_extent`; None if
            that is unknown, which counts as true.
    """

    def per_clip(x: Arr) -> Array:
        return jnp.asarray(x).reshape(-1, windows, *x.shape[1:])

    mask = per_clip(tokens.mask)
    if is_real is not None:
        mask = mask & per_clip(is_real)[:, :, None]
    count = mask.sum(2).astype(jnp.float32)
    weight = count / jnp.maximum(count.sum(1, keepdims=True), 1.0)

    def mean(x: Arr) -> Array:
        """The weighted mean of `[B W, ..., D]` over the windows."""
        return jnp.einsum("bw,bw...->b...", weight, per_clip(x))

    def along_time(x: Arr, axis: int) -> Array:
        """`[B W, ..., T, F, D]` with the windows of a clip in a row along time."""
        moved = jnp.moveaxis(per_clip(x), 1, axis)
        shape = moved.shape
        return moved.reshape(*shape[:axis], -1, *shape[axis + 2 :])

    layers, layer_cls = tokens.layers, tokens.layer_cls
    return Tokens(
        patches=along_time(tokens.patches, 1),
        cls=mean(tokens.cls),
        mask=mask.reshape(len(mask), -1),
        layers=None if layers is None else along_time(layers, 2),
        layer_cls=None if layer_cls is None else mean(layer_cls),
    )
