"""Decides which part of a clip an encoder hears, and how that part becomes its input.

An encoder hears the first samples of a clip, as many as its input has. What lies beyond
them is cut off, and what is missing is filled with zeros. How long an input is depends
on the encoder and its length policy (see `framing`).

To change which part is heard, change `heard` and `of_batch`, add a field to
`key_fields` so that stored tokens are not mixed up, and raise the `version` of the
encoders so that finished runs are not either. The input of one clip, the inputs of a
batch, the length policies and the times of events follow. Times from the start of the
input are also shown by `inference/diagnose.py`, where they are times in the clip as
long as the heard part begins with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import zero_behind
from unmute_jax.audio.resample import pad_or_crop
from unmute_jax.ops.arrays import Arr

# (class, onset, offset), in seconds from the start of the clip.
Event = tuple[int, float, float]


@dataclasses.dataclass(frozen=True)
class ClipInput:
    """An input of fixed length that is made from a clip of any length.

    Attributes:
        samples: Length of the input, in samples at the encoder's rate.
    """

    samples: int

    def heard(self, clip_samples: int) -> range:
        """The samples of a clip of `clip_samples` samples that the encoder hears."""
        return range(min(clip_samples, self.samples))

    def of_clip(
        self, waveform: Float[np.ndarray, " S"]
    ) -> tuple[Float[np.ndarray, " R"], int]:
        """The input of one clip, `[samples]`, and how many samples of it are heard."""
        part = self.heard(len(waveform))
        heard = waveform[part.start : part.stop]
        # A view would keep all of a long clip in memory.
        return pad_or_crop(
            heard if len(heard) == len(waveform) else heard.copy(), self.samples
        )

    def of_batch(
        self, waveforms: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> tuple[Float[Array, "B R"], Int[Array, "B"]]:
        """The inputs of a batch of clips, computed in a compiled program.

        Args:
            waveforms: Waveforms of the clips, with anything behind their ends.
            lengths: Number of samples of each clip.

        Returns:
            Inputs of shape `[B, samples]`, zero behind the end of each clip, and how
            many samples of each clip are heard.
        """
        waveforms = jnp.asarray(waveforms)
        # One cut for all rows: the rule begins at the same sample for all clips.
        part = self.heard(waveforms.shape[1])
        heard = jnp.minimum(jnp.asarray(lengths), self.samples)
        missing = self.samples - len(part)
        waveforms = jnp.pad(
            waveforms[:, part.start : part.stop], ((0, 0), (0, missing))
        )
        return zero_behind(waveforms, heard), heard

    def events_of(
        self, events: Sequence[Event], clip_samples: int, sample_rate: int
    ) -> tuple[Event, ...]:
        """The events of a clip, timed from the start of its input.

        Events outside the heard part are kept: they overlap no time step of the tokens.

        Args:
            events: The events, timed from the start of the clip.
            clip_samples: Number of samples of the clip.
            sample_rate: Rate of the samples, in Hz.
        """
        start = self.heard(clip_samples).start / sample_rate
        if start == 0:
            return tuple(events)
        return tuple((c, onset - start, offset - start) for c, onset, offset in events)


def key_fields(inputs: Sequence[ClipInput]) -> dict[str, Any]:
    """The fields of a store's key that say which part of the clips is heard.

    Args:
        inputs: The inputs that clips may become, by ascending length.
    """
    samples = [one.samples for one in inputs]
    # A plain number where there is only one, so that the keys of older stores hold.
    return {"input_samples": samples if len(samples) > 1 else samples[0]}
