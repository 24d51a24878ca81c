"""Audio files to waveforms: read, mix down, resample, pad and crop.

Everything a person may hand over ends in a waveform or in one `InputError` that names
the file and the reason; no exception of a decoder and nothing it prints gets through.
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

# Names of recordings in a folder end like this.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")

# Outside of these a sample rate is a damaged header, not a recording.
MIN_RATE, MAX_RATE = 1_000, 768_000

_BLOCK = 1 << 20
# libsndfile corrects the length of a short WAV or AIFF without an error; its log tells.
_CORRECTED = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
# Writers that do not know the length in advance put a placeholder near 2^31 or 2^32.
_PLACEHOLDER = 0x7FFF0000
_NO_LENGTH = 1 << 62
_FRAMED = (b"RIFF", b"RIFX", b"FORM", b"fLaC", b"OggS")
_STDERR = threading.Lock()
_Data = bytes | mmap.mmap


def read_audio(
    path: str | os.PathLike[str], *, sample_rate: int | None = None
) -> tuple[Float[np.ndarray, " S"], int]:
    """Reads a WAV, FLAC, Ogg or MP3 file of any rate and any number of channels.

    Channels are averaged first, then the rate is changed.

    Args:
        path: The file.
        sample_rate: Wanted rate in Hz; None keeps the file's own.

    Returns:
        The mono waveform and its rate in Hz. Values are in [-1, 1], up to the small
        overshoot of lossy decoding and resampling, and whatever a file of floats holds.

    Raises:
        InputError: There is no such file, or it is a folder, empty, cut short, not
            audio, holds NaN or infinity, or claims an impossible sample rate.
    """
    path = pathlib.Path(path)
    with _opening(path):
        data = path.read_bytes()
    return decode_audio(data, str(path), sample_rate=sample_rate)


def decode_audio(
    data: bytes, name: str, *, sample_rate: int | None = None
) -> tuple[Float[np.ndarray, " S"], int]:
    """`read_audio` for the bytes of a file, such as a member of an archive.

    Args:
        data: The whole file.
        name: What errors call it.
        sample_rate: Wanted rate in Hz; None keeps the file's own.
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
    """A recording of any length that is decoded block by block, never held whole.

    Use as a context manager. What is wrong with the file is found when it is opened or
    while its blocks are read, with the errors of `read_audio`.

    Attributes:
        sample_rate: In Hz.
        seconds: As long as its header says it is; MP3 files may only guess.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens `path`."""
        self._path = pathlib.Path(path)
        with contextlib.ExitStack() as stack:
            with _opening(self._path):
                file = stack.enter_context(open(self._path, "rb"))
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{path}: is empty (0 bytes)")
            # Pages of a map come and go with the memory that is free.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            stack.enter_context(data)
            with self._decoding(data):
                sound = sf.SoundFile(file.fileno(), closefd=False)
            stack.enter_context(sound)
            _check_header(sound, str(self._path))
            # What the header alone gives away need not be waited for.
            if reason := _cut_short(sound, data, sound.frames):
                raise InputError(f"{path}: is cut short: {reason}")
            self._data, self._sound = data, sound
            self._open = stack.pop_all()
        self.sample_rate: int = sound.samplerate
        self.seconds: float = sound.frames / sound.samplerate

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blocks(self) -> Iterator[Float[np.ndarray, "_"]]:
        """The mono waveform from the beginning, some seconds at a time.

        Raises:
            InputError: As `read_audio`, where the fault is met.
        """
        self._sound.seek(0)
        blocks = _mono_blocks(self._sound, self._data, str(self._path))
        while True:
            # The guard silences the error stream: not while the caller has the word.
            with self._decoding(self._data):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _decoding(self, data: _Data) -> contextlib.AbstractContextManager[None]:
        return _decoding(data, str(self._path))


@contextlib.contextmanager
def _opening(path: pathlib.Path) -> Generator[None]:
    """Says in one line why a file cannot be opened."""
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
    """Says in one line what a decoder has against `data`, and lets nothing print."""
    framed = data[:4] in _FRAMED
    # Only the MP3 decoder, which is also tried on what no other one knows, prints.
    quiet = contextlib.nullcontext() if framed else _no_stderr()
    try:
        with quiet:
            yield
    except sf.LibsndfileError as error:
        if _is_mp3(data):
            raise InputError(f"{name}: is a damaged MP3, or cut short") from None
        if not framed:
            raise InputError(f"{name}: is not wav, flac, ogg or mp3 audio") from None
        reason = error.error_string.rstrip(".").removeprefix("Error : ")
        raise InputError(f"{name}: is damaged, or cut short ({reason})") from None


def _check_header(sound: sf.SoundFile, name: str) -> None:
    """Refuses what no recording has."""
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
    """Everything, mixed down; raises where the header is untrue or samples are bad."""
    # In blocks: a damaged header may promise more than the memory holds.
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
    """How the file contradicts its own length; None where it does not."""
    if sound.format == "OGG":
        return None if _has_last_page(data) else "its last Ogg page is missing"
    if sound.format == "MP3" and not _has_length_tag(data):
        # Nothing was promised: libsndfile has guessed the length from the bit rate.
        return None
    if corrected := _CORRECTED.search(sound.extra_info):
        promised, found = int(corrected[1]), int(corrected[2])
        if found < promised < _PLACEHOLDER:
            return f"{promised} bytes of samples are promised, {found} are there"
    if decoded < sound.frames:
        return f"{sound.frames} samples are promised, {decoded} are there"
    return None


def _has_last_page(data: _Data) -> bool:
    """Whether Ogg data end with a whole page that is marked as the last (RFC 3533)."""
    start = data.rfind(b"OggS\0")
    header = data[start : start + 27]
    if len(header) < 27 or not header[5] & 4:
        return False
    segments = data[start + 27 : start + 27 + header[26]]
    return len(data) >= start + 27 + header[26] + sum(segments)


def _is_mp3(data: _Data) -> bool:
    """Whether data begin like an MP3: with tags, or with eleven bits set."""
    return data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0")


def _has_length_tag(data: _Data) -> bool:
    """Whether the first MP3 frame carries its length in a Xing, Info or VBRI tag."""
    start = 0
    if data[:3] == b"ID3":
        high, mid, low, lowest = data[6:10]
        start = 10 + (high << 21 | mid << 14 | low << 7 | lowest)
    head = data[start : start + 256]
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))


class _Bytes(io.BytesIO):
    """Bytes in which a damaged header may ask for a place before the start."""

    def seek(self, offset: int, whence: int = 0) -> int:
        # An exception here would be printed by the callback from C, not raised.
        with contextlib.suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


@contextlib.contextmanager
def _no_stderr() -> Generator[None]:
    """Sends what C code writes to the error stream nowhere."""
    with _STDERR:
        try:
            saved = os.dup(2)
        except OSError:  # The process has no error stream.
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(nowhere)
