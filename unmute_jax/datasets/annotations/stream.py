"""Reads stretches of a long recording in order, decoding it once in bounded memory."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.decode import AudioFile
from unmute_jax.errors import InputError

# Seconds by which a compressed file may be longer or shorter than its header says:
# encoders add some samples at both ends, and not all headers count them.
SLACK = 0.2


class RecordingStream:
    """Reads stretches of a recording in the order of their beginnings.

    About one stretch and one block of the decoder are in memory at a time.

    Args:
        path: The recording.

    Attributes:
        path: The recording.
        sample_rate: Its sample rate in Hz.
        digest: The SHA-256 of the file.
        position: The first sample that can still be read.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._file = AudioFile(path)
        self.sample_rate = self._file.sample_rate
        with path.open("rb") as content:
            self.digest = hashlib.file_digest(content, "sha256").hexdigest()
        self._blocks: Iterator[np.ndarray] = self._file.blocks()
        self._buffer = np.empty(0, np.float32)
        self.position = 0

    @property
    def mix(self) -> ChannelMix:
        """The average of the channels in what was read."""
        return self._file.mix

    def read(self, start: int, end: int) -> Float32[np.ndarray, " S"]:
        """Returns the samples from `start` to before `end`.

        Args:
            start: The first sample, not before that of the last call.
            end: The sample after the last one. Up to `SLACK` seconds may be missing at
                the end of the file; then the result is shorter.

        Raises:
            InputError: The file has a fault, or ends before `end`.
        """
        self._skip_to(start)
        while (there := self.position + len(self._buffer)) < end:
            if (block := next(self._blocks, None)) is None:
                if end - there > SLACK * self.sample_rate or not len(self._buffer):
                    raise self._wrong_length(there)
                break
            self._buffer = np.concatenate([self._buffer, block])
            self._skip_to(start)
        return self._buffer[start - self.position : end - self.position].copy()

    def finish(self, samples: int) -> None:
        """Reads the rest, so that a fault behind the last stretch is found, and closes.

        Args:
            samples: The length of the recording according to its header.

        Raises:
            InputError: The file has a fault, or is longer than its header says.
        """
        length = self.position + len(self._buffer)
        try:
            length += sum(len(block) for block in self._blocks)
        finally:
            self.close()
        if length > samples + SLACK * self.sample_rate:
            raise self._wrong_length(length)

    def close(self) -> None:
        """Closes the file."""
        self._file.__exit__(None, None, None)

    def _skip_to(self, start: int) -> None:
        """Forgets what lies before a sample."""
        before = min(start - self.position, len(self._buffer))
        self._buffer, self.position = self._buffer[before:], self.position + before

    def _wrong_length(self, samples: int) -> InputError:
        return InputError(
            f"{self.path}: holds {samples / self.sample_rate:g} s, which is not what "
            f"its header says ({self._file.seconds:g} s); encode it once more"
        )
