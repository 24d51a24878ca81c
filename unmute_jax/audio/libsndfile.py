"""Decodes formats that state their length with libsndfile."""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile as sf
from jaxtyping import Float

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.flac import count_samples
from unmute_jax.audio.section import Part, Section
from unmute_jax.errors import InputError

# How many samples, over all channels, are decoded at a time.
_BLOCK = 1 << 20
# libsndfile reports such a length for a file that states none.
_NO_LENGTH = 1 << 62
# Samples that can be read without a header.
_UNCOMPRESSED = {
    *("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
}


class SndfileDecoder:
    """Decodes a file once, from its beginning.

    Attributes:
        sample_rate: Sample rate in Hz.
        seconds: Length in seconds.
        mix: The average of the channels, which the parts of a recording may share.
    """

    def __init__(self, sound: sf.SoundFile, name: str):
        """Takes over an open `sound`; `name` is the name in error messages."""
        self._sound, self._name = sound, name
        self.mix = ChannelMix()
        self.sample_rate: int = sound.samplerate
        self.seconds: float = sound.frames / max(sound.samplerate, 1)

    def close(self) -> None:
        """Closes the decoder, but not the file."""
        self._sound.close()

    def blocks(self) -> Iterator[Float[np.ndarray, "_"]]:
        """Yields the mono waveform.

        Raises:
            InputError: The file is damaged, or holds fewer samples than it states.
        """
        sound, decoded = self._sound, 0
        size = max(_BLOCK // sound.channels, 1)
        while len(block := self._read(size)):
            decoded += len(block)
            yield self.mix.mono(block)
        if decoded < sound.frames:
            raise InputError(
                f"{self._name}: is cut short: {sound.frames} samples are promised, "
                f"{decoded} are there"
            )

    def _read(self, size: int) -> Float[np.ndarray, "_ _"]:
        try:
            return self._sound.read(size, "float32", always_2d=True)
        except sf.LibsndfileError as error:
            reason = error.error_string.rstrip(".").removeprefix("Error : ")
            raise InputError(
                f"{self._name}: is damaged, or cut short ({reason})"
            ) from None


def open_with_libsndfile(part: Part, name: str) -> SndfileDecoder | None:
    """Opens a part of a file.

    Args:
        part: The part.
        name: The name of the file in error messages.

    Returns:
        The decoder; None if libsndfile does not know the format, or reads it badly.

    Raises:
        InputError: The file is FLAC and states a wrong number of samples.
    """
    with contextlib.ExitStack() as opened:
        try:
            sound = opened.enter_context(_opened(part.file))
            if part.samples_at is not None:
                if sound.subtype not in _UNCOMPRESSED:
                    return None
                sound = opened.enter_context(_opened_without_header(part, sound))
        except sf.LibsndfileError:
            return None
        # libsndfile only estimates the length of MP3, also inside WAV.
        frames = sound.frames
        if frames >= _NO_LENGTH or sound.subtype.startswith("MPEG"):
            return None
        if sound.format == "FLAC":
            # The header may state fewer samples than there are: libsndfile stops there.
            found = count_samples(part.file, frames)
            if found != frames:
                reason = f": {frames} samples are promised, {found} are there"
                raise InputError(
                    f"{name}: is damaged, or cut short{'' if found is None else reason}"
                )
        opened.pop_all()
        return SndfileDecoder(sound, name)


def _opened(file: Section, **options: Any) -> sf.SoundFile:
    # Each decoder has a position of its own in the file.
    return sf.SoundFile(cast(BinaryIO, file.section(0)), **options)


def _opened_without_header(part: Part, sound: sf.SoundFile) -> sf.SoundFile:
    """Opens the samples that last to the end of a file, whatever size it states."""
    return _opened(
        part.file.section(part.samples_at or 0),
        format="RAW",
        subtype=sound.subtype,
        samplerate=sound.samplerate,
        channels=sound.channels,
        endian="BIG" if part.file.bytes_at(0, 4) == b"RIFX" else "LITTLE",
    )
