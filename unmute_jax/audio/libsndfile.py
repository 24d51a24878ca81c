"""Decodes formats that state their length with libsndfile."""

from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import soundfile as sf
from jaxtyping import Float

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.flac import count_samples
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError

# How many samples, over all channels, are decoded at a time.
_BLOCK = 1 << 20
# libsndfile reports such a length for a file that states none.
_NO_LENGTH = 1 << 62


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


def open_with_libsndfile(file: Section, name: str) -> SndfileDecoder | None:
    """Opens a file.

    Args:
        file: The file.
        name: The name of the file in error messages.

    Returns:
        The decoder; None if libsndfile does not know the format, or reads it badly.

    Raises:
        InputError: The file is FLAC and states a wrong number of samples.
    """
    try:
        sound = sf.SoundFile(cast(BinaryIO, file.section(0)))
    except sf.LibsndfileError:
        return None
    # libsndfile only estimates the length of MP3, also inside WAV.
    if sound.frames >= _NO_LENGTH or sound.subtype.startswith("MPEG"):
        sound.close()
        return None
    frames = sound.frames
    if sound.format == "FLAC" and (found := count_samples(file, frames)) != frames:
        # The header of a FLAC may state fewer samples, and libsndfile stops there.
        reason = f": {frames} samples are promised, {found} are there"
        sound.close()
        raise InputError(
            f"{name}: is damaged, or cut short{'' if found is None else reason}"
        )
    return SndfileDecoder(sound, name)
