"""How clips of any length become inputs of a network, and windows one token map.

An encoder treats all clips of a run alike, so that they share one shape:

- "pad": what is missing up to the target is padding, what is beyond is cut off.
- "repeat": a clip is repeated until it fills the target, and cut off there.
- "crop": as "pad", but where no clip reaches the target, the input is only as long as
  the longest one.
- "window": a longer clip is cut into windows of the target, each encoded on its own,
  and their tokens are joined along time; the last window is padded. A window begins
  where the tokens of the one before it end, so that no time is lost or counted twice.

The target is a number of frames; without one it is the longest clip (under "window"
`WINDOW_FRAMES`). A clip shorter than a patch is padded to one. All encoders pad unless
told otherwise, to

    EAT, SSLAM, AudioMAE, ASiT    1024 frames, or what the `recipe` says
    BEATs, Dasheng, logmel        the longest clip of the data set

and what their authors do with a data set is

    AudioSet, 10 s            padded to 1024 frames; `recipe=audioset`, the default
    ESC-50, 5 s               padded to 512 (EAT, AudioMAE); `recipe=esc50`
    Speech Commands, 1 s      padded to 128 (EAT, AudioMAE); `recipe=speech_commands`
    SPASS, 10 s               padded to 1024 (SSLAM); `recipe=spass`
    FSD50K, 0.3 to 30 s       not known; others crop to 10 s, as "pad" with 1024 frames
                              does, while "window" hears all of a clip
    birds, windows of 5 s     not known of these encoders; `target_frames=512` fits them

BEATs and Dasheng take every clip as long as it is. Encoders of one's own (`own`) say
themselves how long an input is; policies are not for them.

What is repeated counts as real sound, and no time step of it is masked.

What padding is, the encoder says: raw log-mels of zero in EAT, SSLAM, AudioMAE, ASiT
and logmel; silence in BEATs and Dasheng, and in the pre-training of ASiT. Unless
`mask_padding` leaves it out, it takes part like any sound, as in the paper: time steps
of padding alone are tokens that a probe may match. Windows that lie wholly behind their
clip are the exception: they are always masked, since the clip alone would not have
them.
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

# Ten seconds: windows of encoders that take any length.
WINDOW_FRAMES = 1000


@runtime_checkable
class FilterBank(Protocol):
    """What cuts frames out of samples."""

    @property
    def frame_shift(self) -> int:
        """Samples from one frame to the next."""
        ...

    @property
    def num_mels(self) -> int:
        """Bands of a frame."""
        ...

    @property
    def min_samples(self) -> int:
        """The shortest clip with at least one real frame."""
        ...

    def num_frames(self, samples: int) -> int:
        """Frames of so many samples."""
        ...

    def num_samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        ...

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Frames that hold nothing but the first `lengths` samples."""
        ...


class Extent(NamedTuple):
    """How much of each input is of its clip.

    Attributes:
        lengths: `[B]`, samples that belong to the clip; padding lies behind them.
        samples: Of the whole input.
    """

    lengths: Int[Array, "B"]
    samples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Framing:
    """From samples to frames to time steps, for clips of any length.

    Attributes:
        filters: Make frames of samples.
        patch_frames: Frames of a patch.
        frames_per_step: From one time step to the next.
        policy: One of `POLICIES`.
        target_frames: See above.

    Raises:
        InputError: An unknown policy, or a target that holds no patch.
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
        """What of it changes tokens; the rest are facts of the encoder.

        Nothing where inputs are as long as the longest clip: older keys stay as they
        were.
        """
        if self.policy == "pad" and self.target_frames is None:
            return {}
        windowed = self.policy == "window"
        target = self._window_target if windowed else self.target_frames
        return {"lengths": {"policy": self.policy, "target_frames": target}}

    def num_steps(self, frames: int) -> int:
        """Whole patches along so many frames."""
        return max(0, 1 + (frames - self.patch_frames) // self.frames_per_step)

    def real_steps(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Time steps that hold at least one real frame."""
        return -(-self.filters.real_frames(lengths) // self.frames_per_step)

    def input_samples(self, samples: int) -> int:
        """Samples of the input for clips of up to `samples`."""
        num_samples = self.filters.num_samples
        least = num_samples(self.patch_frames)
        if self.policy == "window":
            windows = self.num_windows(self.filters.num_frames(samples))
            return num_samples(self._frames_of(windows))
        if self.target_frames is None:
            return max(samples, least)
        target = num_samples(self.target_frames)
        return max(least, min(samples, target)) if self.policy == "crop" else target

    def fit(
        self, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> tuple[Float[Array, "B R"], Extent]:
        """The waveforms as the policy wants them, silent behind every clip.

        Args:
            waveform: Clips, and anything behind them.
            lengths: Samples that belong to each clip.

        Returns:
            Waveforms of `input_samples(S)` samples, and how much of them is real; what
            is repeated counts as real.
        """
        waveform, lengths = jnp.asarray(waveform), jnp.asarray(lengths)
        samples = self.input_samples(waveform.shape[1])
        if self.policy == "repeat":
            places = jnp.arange(samples)[None, :] % jnp.maximum(lengths, 1)[:, None]
            waveform = jnp.take_along_axis(waveform, places, axis=1)
            # A clip that is too short for a frame stays padding.
            whole = lengths >= self.filters.min_samples
            lengths = jnp.where(whole, samples, lengths)
        waveform, heard = ClipInput(samples).of_batch(waveform, lengths)
        return waveform, Extent(heard, samples)

    # Windows -----------------------------------------------------------------

    def num_windows(self, frames: int) -> int:
        """Windows that hold all whole patches along so many frames, at least one."""
        if self.policy != "window":
            return 1
        return max(1, -(-self.num_steps(frames) // self._window_steps))

    def cut(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "W window mels"]:
        """The windows of all spectrograms; those of one clip follow each other.

        Raises:
            InputError: The last window is not whole.
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
        """How much of each window is of its clip, and whether the clip has it at all.

        A clip has its first window, and every other one that it fills a patch of.
        """
        samples = self.filters.num_samples(self._frames_of(1))
        starts = np.array(self._starts(windows)) * self.filters.frame_shift
        left = jnp.asarray(extent.lengths)[:, None] - starts.astype(np.int32)[None, :]
        lengths = jnp.clip(left, 0, samples).reshape(-1)
        filled = self.filters.real_frames(lengths) >= self.patch_frames
        first = np.tile(starts == 0, len(left))
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
        """The fewest frames that hold so many windows."""
        steps = windows * self._window_steps
        return (steps - 1) * self.frames_per_step + self.patch_frames


def join(tokens: Tokens, windows: int, held: Bool[Arr, "W"] | None) -> Tokens:
    """The tokens of whole clips from those of their windows.

    Class tokens are averaged, each weighted by the time steps of its window that are
    not masked; so a mean of tokens stays the mean of all tokens.

    Args:
        tokens: Of windows; those of one clip follow each other.
        windows: Of each clip.
        held: The windows that their clip has; all of them where that is not known.
    """

    def apart(x: Arr) -> Array:
        return jnp.asarray(x).reshape(-1, windows, *x.shape[1:])

    mask = apart(tokens.mask)
    if held is not None:
        mask = mask & apart(held)[:, :, None]
    count = mask.sum(2).astype(jnp.float32)
    weight = count / jnp.maximum(count.sum(1, keepdims=True), 1.0)

    def mean(x: Arr) -> Array:
        """`[B W, ..., D]` over the windows."""
        return jnp.einsum("bw,bw...->b...", weight, apart(x))

    def along_time(x: Arr, axis: int) -> Array:
        """`[B W, ..., T, F, D]`, the windows of a clip behind each other in time."""
        beside = jnp.moveaxis(apart(x), 1, axis)
        shape = beside.shape
        return beside.reshape(*shape[:axis], -1, *shape[axis + 2 :])

    layers, layer_cls = tokens.layers, tokens.layer_cls
    return Tokens(
        patches=along_time(tokens.patches, 1),
        cls=mean(tokens.cls),
        mask=mask.reshape(len(mask), -1),
        layers=None if layers is None else along_time(layers, 2),
        layer_cls=None if layer_cls is None else mean(layer_cls),
    )
