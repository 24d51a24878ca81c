"""Decodes audio files into mono waveforms.

Every file ends in a waveform, or in an `InputError` of one line that names the file and
the reason. No exception of a decoder reaches the caller, and nothing that a decoder
prints reaches the terminal.
"""

import contextlib
import io
import mmap
import os
import pathlib
import re
import threading
from collections.abc import Generator, Iterator

import numpy as np
import soundfile as sf
from jaxtyping import Float

from unmute_jax.audio.resample import resample
from unmute_jax.errors import InputError

# Suffixes of the recordings in a folder.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")

# A sample rate outside this range comes from a damaged header.
MIN_RATE, MAX_RATE = 1_000, 768_000

# How many samples, over all channels, are decoded at a time.
_BLOCK = 1 << 20
# libsndfile corrects the length of a short WAV or AIFF without an error; only its log
# mentions it.
_CORRECTED = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
# A writer that does not know the length in advance stores a placeholder near 2^31 or
# 2^32.
_PLACEHOLDER = 0x7FFF0000
# libsndfile reports such a length for a file that states none.
_NO_LENGTH = 1 << 62
# First bytes of the formats that have any; only MP3 has none.
_MAGIC = (b"RIFF", b"RIFX", b"FORM", b"fLaC", b"OggS")
_STDERR = threading.Lock()
_Data = bytes | mmap.mmap


def read_audio(
    path: str | os.PathLike[str], *, sample_rate: int | None = None
) -> tuple[Float[np.ndarray, " S"], int]:
    """Reads a WAV, FLAC, Ogg, MP3 or AIFF file.

    Channels are averaged before the rate is changed.

    Args:
        path: The file, with any rate and number of channels.
        sample_rate: Rate of the result in Hz; None for that of the file.

    Returns:
        The mono waveform and its rate in Hz. Values are in [-1, 1], except for a small
        overshoot of lossy decoding and resampling, and for larger values in files of
        floats.

    Raises:
        InputError: There is no such file, or it is a folder, is empty, is cut short, is
            not audio, holds NaN or infinity, or states an impossible sample rate.
    """
    path = pathlib.Path(path)
    with _opening(path):
        data = path.read_bytes()
    return decode_audio(data, str(path), sample_rate=sample_rate)


def decode_audio(
    data: bytes, name: str, *, sample_rate: int | None = None
) -> tuple[Float[np.ndarray, " S"], int]:
    """Decodes the bytes of a file, such as a member of an archive, see `read_audio`.

    Args:
        data: The content of the file.
        name: The name of the file in error messages.
        sample_rate: Rate of the result in Hz; None for that of the file.
    """
    if not data:
        raise InputError(f"{name}: is empty (0 bytes)")
    with _decoding(data, name), sf.SoundFile(_Bytes(data)) as sound:
        _check_header(sound, name)
        rate = sound.samplerate
        blocks = list(_mono_blocks(sound, data, name))
    mono = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    if sample_rate is None:
        return mono, rate
    return resample(mono, rate, sample_rate), sample_rate


class AudioFile:
    """A recording that is decoded block by block and never held in memory as a whole.

    It is a context manager. Opening it and reading its blocks raise the errors of
    `read_audio`.

    Attributes:
        sample_rate: Sample rate in Hz.
        seconds: Length according to the header, which for MP3 may be an estimate.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens `path`."""
        self._path = pathlib.Path(path)
        with contextlib.ExitStack() as stack:
            with _opening(self._path):
                file = stack.enter_context(open(self._path, "rb"))
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{path}: is empty (0 bytes)")
            # The system drops pages of a memory map when memory gets short.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            stack.enter_context(data)
            with self._decoding(data):
                sound = sf.SoundFile(file.fileno(), closefd=False)
            stack.enter_context(sound)
            _check_header(sound, str(self._path))
            # A fault that shows in the header is reported before anything is decoded.
            if reason := _cut_short(sound, data, sound.frames):
                raise InputError(f"{path}: is cut short: {reason}")
            self._data, self._sound = data, sound
            self._resources = stack.pop_all()
        self.sample_rate: int = sound.samplerate
        self.seconds: float = sound.frames / sound.samplerate

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
        self._sound.seek(0)
        blocks = _mono_blocks(self._sound, self._data, str(self._path))
        while True:
            # `_decoding` silences the error stream, which must not last while the
            # caller works on a block.
            with self._decoding(self._data):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _decoding(self, data: _Data) -> contextlib.AbstractContextManager[None]:
        return _decoding(data, str(self._path))


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


@contextlib.contextmanager
def _decoding(data: _Data, name: str) -> Generator[None]:
    """Turns an error of a decoder into an `InputError`, and silences the decoder."""
    has_magic = data[:4] in _MAGIC
    # Only the MP3 decoder prints. It is also tried on files of unknown formats.
    quiet = contextlib.nullcontext() if has_magic else _no_stderr()
    try:
        with quiet:
            yield
    except sf.LibsndfileError as error:
        if _is_mp3(data):
            raise InputError(f"{name}: is a damaged MP3, or cut short") from None
        if not has_magic:
            raise InputError(f"{name}: is not wav, flac, ogg or mp3 audio") from None
        reason = error.error_string.rstrip(".").removeprefix("Error : ")
        raise InputError(f"{name}: is damaged, or cut short ({reason})") from None


def _check_header(sound: sf.SoundFile, name: str) -> None:
    """Refuses an impossible sample rate or length."""
    if not MIN_RATE <= sound.samplerate <= MAX_RATE:
        raise InputError(
            f"{name}: claims a sample rate of {sound.samplerate} Hz; "
            f"{MIN_RATE} to {MAX_RATE} is possible"
        )
    if sound.frames >= _NO_LENGTH:
        raise InputError(f"{name}: does not say how long it is; encode it once more")


def _mono_blocks(
    sound: sf.SoundFile, data: _Data, name: str
) -> Iterator[Float[np.ndarray, "_"]]:
    """Yields the mono waveform, and checks its samples and its length."""
    # In blocks, because a damaged header may state more samples than fit in memory.
    decoded = 0
    while len(x := sound.read(_BLOCK // sound.channels, "float32", always_2d=True)):
        decoded += len(x)
        mono = x[:, 0] if x.shape[1] == 1 else x.mean(axis=1)
        if not np.isfinite(mono).all():
            raise InputError(f"{name}: contains NaN or infinite samples")
        yield mono
    if reason := _cut_short(sound, data, decoded):
        raise InputError(f"{name}: is cut short: {reason}")
    if not decoded:
        raise InputError(f"{name}: holds no samples")


def _cut_short(sound: sf.SoundFile, data: _Data, decoded: int) -> str | None:
    """How the file contradicts the length that it states; None if it does not."""
    if sound.format == "OGG":
        return None if _has_last_page(data) else "its last Ogg page is missing"
    if sound.format == "MP3" and not _has_length_tag(data):
        # The file states no length: libsndfile has estimated one from the bit rate.
        return None
    if corrected := _CORRECTED.search(sound.extra_info):
        promised, found = int(corrected[1]), int(corrected[2])
        if found < promised < _PLACEHOLDER:
            return f"{promised} bytes of samples are promised, {found} are there"
    if decoded < sound.frames:
        return f"{sound.frames} samples are promised, {decoded} are there"
    return None


def _has_last_page(data: _Data) -> bool:
    """Whether Ogg data end with a complete page marked as the last (RFC 3533)."""
    start = data.rfind(b"OggS\0")
    header = data[start : start + 27]
    if len(header) < 27 or not header[5] & 4:
        return False
    segments = data[start + 27 : start + 27 + header[26]]
    return len(data) >= start + 27 + header[26] + sum(segments)


def _is_mp3(data: _Data) -> bool:
    """Whether data begin like an MP3, with tags or with eleven bits that are set."""
    return data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0")


def _has_length_tag(data: _Data) -> bool:
    """Whether the first MP3 frame states a length in a Xing, Info or VBRI tag."""
    start = 0
    if data[:3] == b"ID3":
        high, mid, low, lowest = data[6:10]
        start = 10 + (high << 21 | mid << 14 | low << 7 | lowest)
    head = data[start : start + 256]
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))


class _Bytes(io.BytesIO):
    """Bytes in which a damaged header may seek to a position before the start."""

    def seek(self, offset: int, whence: int = 0) -> int:
        # The callback from C would print an exception instead of raising it.
        with contextlib.suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


@contextlib.contextmanager
def _no_stderr() -> Generator[None]:
    """Discards everything that C code writes to the error stream."""
    with _STDERR:
        try:
            saved = os.dup(2)
        except OSError:  # The process has no error stream.
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(sink)
