"""Decodes audio files into mono waveforms.

Every file ends in all its samples, or in an `InputError` of one line that names the
file and the reason. No exception of a decoder reaches the caller, and nothing that a
decoder prints reaches the terminal.

libsndfile decodes uncompressed formats, FLAC and Ogg; FFmpeg decodes the others.
"""

import contextlib
import functools
import io
import math
import os
import pathlib
from collections.abc import Generator, Iterator

import numpy as np
from jaxtyping import Float

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.containers import Part, find_parts
from unmute_jax.audio.ffmpeg import FfmpegDecoder
from unmute_jax.audio.libsndfile import SndfileDecoder, open_with_libsndfile
from unmute_jax.audio.resample import resample
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError

# Suffixes of the recordings in a folder.
SUFFIXES = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".m4a", ".m4b", ".mp4", ".aac", ".mov", ".3gp", ".amr", ".caf"),
    *(".webm", ".mka", ".mkv", ".wma", ".aif", ".aiff", ".aifc", ".au", ".snd"),
    *(".w64", ".rf64", ".bwf", ".mp2", ".ac3", ".wv", ".ape", ".tta", ".avi"),
)

# A sample rate outside this range comes from a damaged header.
MIN_RATE, MAX_RATE = 1_000, 768_000


def read_audio(
    path: str | os.PathLike[str], *, sample_rate: int | None = None
) -> tuple[Float[np.ndarray, " S"], int]:
    """Reads an audio file of any usual format, or the sound of a film.

    Channels are averaged before the rate is changed. `docs/formats.md` lists formats.

    Args:
        path: The file, with any rate and number of channels.
        sample_rate: Rate of the result in Hz; None for that of the file.

    Returns:
        The mono waveform and its rate in Hz. Values are in [-1, 1], except for a small
        overshoot of lossy decoding and resampling, and for larger values in files of
        floats.

    Raises:
        InputError: There is no such file, or it is a folder, is empty, is damaged or
            cut short, is not audio, has several sound tracks, holds NaN or infinity,
            states an impossible sample rate, or changes its rate.
    """
    path = pathlib.Path(path)
    with _opening(path):
        data = path.read_bytes()
    return decode_audio(data, str(path), sample_rate=sample_rate)


def decode_audio(
    data: bytes,
    name: str,
    *,
    sample_rate: int | None = None,
    mix: ChannelMix | None = None,
) -> tuple[Float[np.ndarray, " S"], int]:
    """Decodes the bytes of a file, such as a member of an archive, see `read_audio`.

    Args:
        data: The content of the file.
        name: The name of the file in error messages.
        sample_rate: Rate of the result in Hz; None for that of the file.
        mix: The average of the channels, which says afterwards if they cancel.
    """
    recording = _Recording(io.BytesIO(data), len(data), name, mix or ChannelMix())
    blocks = list(recording.blocks())
    mono = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    if sample_rate is None:
        return mono, recording.sample_rate
    return resample(mono, recording.sample_rate, sample_rate), sample_rate


def audio_seconds(data: bytes, name: str) -> float:
    """Returns the length of a file in seconds, see `AudioFile.seconds`.

    Args:
        data: The content of the file.
        name: The name of the file in error messages.
    """
    return _Recording(io.BytesIO(data), len(data), name, ChannelMix()).seconds()


class AudioFile:
    """A recording that is decoded block by block and never held in memory as a whole.

    It is a context manager. Opening it and reading its blocks raise the errors of
    `read_audio`.

    Attributes:
        sample_rate: Sample rate in Hz.
        mix: The average of the channels in the blocks that were read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens `path`."""
        with contextlib.ExitStack() as stack:
            with _opening(pathlib.Path(path)):
                file = stack.enter_context(open(path, "rb"))
            size = os.fstat(file.fileno()).st_size
            # A fault that shows in the header is reported before anything is decoded.
            self.mix = ChannelMix()
            self._recording = _Recording(file, size, str(path), self.mix)
            self._recording.open()
            self._resources = stack.pop_all()
        self.sample_rate: int = self._recording.sample_rate

    @functools.cached_property
    def seconds(self) -> float:
        """The length in seconds according to the header.

        Where a format states none, as MP3 without a tag and AAC do, the packets are
        counted, for which the file is read once.
        """
        return self._recording.seconds()

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def blocks(self) -> Iterator[Float[np.ndarray, "_"]]:
        """Yields the mono waveform from the beginning, some seconds at a time.

        Raises:
            InputError: The file has a fault, see `read_audio`. Blocks in front of the
                fault are yielded first.
        """
        return self._recording.blocks()


class _Recording:
    """The parts of an open file, which are decoded one after the other.

    Attributes:
        sample_rate: Sample rate in Hz; 0 before the first part was opened.
    """

    def __init__(
        self,
        file: io.BufferedReader | io.BytesIO,
        size: int,
        name: str,
        mix: ChannelMix,
    ):
        self._name, self._mix = name, mix
        self._parts = find_parts(Section(file, 0, size), name)
        self.sample_rate = 0

    def open(self) -> None:
        """Opens all parts once, to find the sample rate and faults in headers."""
        for part in self._parts:
            self._open(part).close()

    def seconds(self) -> float:
        """Returns the length of all parts in seconds."""
        seconds = 0.0
        for part in self._parts:
            with contextlib.closing(self._open(part)) as decoder:
                seconds += decoder.seconds
        return seconds

    def blocks(self) -> Iterator[Float[np.ndarray, "_"]]:
        """Yields the mono waveform of all parts, and checks its samples."""
        is_empty = True
        for part in self._parts:
            with contextlib.closing(self._open(part)) as decoder:
                for block in decoder.blocks():
                    # The sum of squares is found faster, and is finite as a rule.
                    is_finite = math.isfinite(np.vdot(block, block))
                    if not is_finite and not np.isfinite(block).all():
                        raise InputError(
                            f"{self._name}: contains NaN or infinite samples"
                        )
                    is_empty = False
                    yield block
        if is_empty:
            raise InputError(f"{self._name}: holds no samples")

    def _open(self, part: Part) -> SndfileDecoder | FfmpegDecoder:
        """Opens a part, and checks its sample rate."""
        name, decoder = self._name, None
        if part.for_libsndfile:
            decoder = open_with_libsndfile(part, name)
        if decoder is None:
            to_the_end = part.samples_at is not None
            decoder = FfmpegDecoder(part.file, name, to_the_end=to_the_end)
        decoder.mix = self._mix
        rate = decoder.sample_rate
        if not MIN_RATE <= rate <= MAX_RATE:
            decoder.close()
            raise InputError(
                f"{name}: claims a sample rate of {rate} Hz; "
                f"{MIN_RATE} to {MAX_RATE} is possible"
            )
        if self.sample_rate not in (0, rate):
            decoder.close()
            raise InputError(
                f"{name}: consists of parts with {self.sample_rate} and {rate} Hz"
            )
        self.sample_rate = rate
        return decoder


@contextlib.contextmanager
def _opening(path: pathlib.Path) -> Generator[None]:
    """Turns an error of opening a file into an `InputError`."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not an audio file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from None
