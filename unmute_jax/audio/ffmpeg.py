"""Decodes everything that libsndfile does not read, or not in full, with FFmpeg.

PyAV brings FFmpeg along, so that no program has to be installed.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterator
from typing import Any, cast

import av
import av.error
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float

from unmute_jax.audio.bare_frames import BARE_FORMATS, BareFrames, begins_with_mpeg
from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError

# The formats that are read. FFmpeg knows others that open further files or addresses,
# such as playlists, and some that it finds in any data.
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,matroska,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,nistsphere,ogg,rm,tak,tta,w64,wav,wsd,wv"
)
# Titles and names of artists may be in any encoding. PyAV 19 always allows it.
_ANY_METADATA: dict[str, Any] = (
    {"metadata_errors": "ignore"} if av.__version__.startswith("18.") else {}
)
# How many samples, over all channels, are decoded at a time: they fit into caches.
_BLOCK = 1 << 16
# First bytes of formats that have any.
_MAGIC = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff",
    b"FORM",
    b"caff",
    b".snd",
    b"dns.",
    b"fLaC",
    b"OggS",
    b"\x1a\x45\xdf\xa3",
    b"\x30\x26\xb2\x75",
    b"FLV\x01",
    b"wvpk",
    b"TTA1",
    b"MAC ",
    b"NIST",
    b"#!AM",
)
# A hole in the timestamps, or missing time at the end, that is certainly not rounding.
_HOLE_SECONDS, _MISSING_SECONDS = 0.05, 0.1
# Formats whose lengths are exact, so that nothing may be missing.
_EXACT_FORMATS = {"ape", "dsf", "nistsphere", "tak", "tta", "wv"}
# How an encrypted sound track is marked in MP4.
_ENCRYPTED = {"drms", "enca", "drmi", "aavd"}


class FfmpegDecoder:
    """Decodes the one sound track of a file once, from its beginning.

    Attributes:
        sample_rate: Sample rate in Hz.
        seconds: Length in seconds. Where the format does not state one, all packets are
            counted.
        mix: The average of the channels, which the parts of a recording may share.
    """

    def __init__(self, file: Section, name: str, *, to_the_end: bool = False):
        """Opens a file.

        Args:
            file: The file.
            name: The name of the file in error messages.
            to_the_end: Whether samples follow up to the end of the file, whatever size
                its header states.
        """
        self._file, self._name, self._to_the_end = file, name, to_the_end
        self.mix = ChannelMix()
        with contextlib.ExitStack() as resources:
            self._container, self._stream = resources.enter_context(self._open())
            codec = self._stream.codec_context
            # Checksums are compared, and damage is an error instead of silence.
            codec.options = {"err_detect": "crccheck+explode"}
            if codec.name.startswith("wma"):
                # FFmpeg would leave out two frames at the beginning, although not every
                # encoder adds as many.
                codec.options |= {"flags2": "+skip_manual"}
            codec.thread_count = 1
            self._end_seconds = 0.0
            self._time_base = float(self._stream.time_base or 0)
            self._bare, self._frames = None, self._decode()
            if (format := self._container.format.name) in BARE_FORMATS:
                self._bare = BareFrames(file, name, format=format, codec=codec.name)
                self._frames = self._decode_bare(self._bare)
            first = next(self._frames, None)
            if first is None:
                raise InputError(f"{name}: holds no samples")
            self._frames = itertools.chain([first], self._frames)
            self.sample_rate: int = first.sample_rate
            self._resources = resources.pop_all()

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        stated = self._stated_seconds()
        if stated is not None and self._bare is None:
            return stated
        with self._open() as (container, stream), self._errors():
            packets = [p.duration or 0 for p in container.demux(stream) if p.size]
        # The tag of an MP3 says what an encoder has added, but only of the first of
        # several files that were joined.
        if stated is not None and self._bare and self._bare.promised == len(packets):
            return stated
        return sum(packets) * self._time_base

    def close(self) -> None:
        """Closes the decoder, but not the file."""
        self._resources.close()

    def blocks(self) -> Iterator[Float[np.ndarray, "_"]]:
        """Yields the mono waveform.

        Raises:
            InputError: The file is damaged, holds less than it states, or changes its
                sample rate.
        """
        fifo, channels, decoded, last = av.AudioFifo(), 0, 0, 0
        for frame in self._frames:
            waiting = fifo.samples
            if waiting * channels >= _BLOCK:
                yield self._mono(fifo)
            frame.pts = None  # The queue would insist on samples without a gap.
            try:
                # It does not look at the number of channels.
                if frame.layout.nb_channels != channels:
                    raise ValueError
                fifo.write(frame)
            except ValueError:
                # Another sample format or number of channels is a matter of the codec.
                if frame.sample_rate != (rate := self.sample_rate):
                    raise InputError(
                        f"{self._name}: changes its sample rate from {rate} to "
                        f"{frame.sample_rate} Hz after {decoded / rate:.2f} s"
                    ) from None
                if waiting:
                    yield self._mono(fifo)
                fifo, channels = av.AudioFifo(), frame.layout.nb_channels
                fifo.write(frame)
            last = frame.samples
            decoded += last
        self._check_end()
        # An encoder fills up its last frame, and MP4 states where the sound ends.
        excess = decoded - self._stated_samples(decoded)
        left = fifo.samples - (excess if 0 < excess < last else 0)
        if left:
            yield self._mono(fifo, left)

    def _mono(self, fifo: av.AudioFifo, samples: int = 0) -> Float[np.ndarray, "_"]:
        """Takes so many samples, or all, from a queue, and averages the channels."""
        return self.mix.mono(_samples(cast(AudioFrame, fifo.read(samples))))

    @contextlib.contextmanager
    def _open(self) -> Generator[tuple[InputContainer, AudioStream]]:
        """Opens the file at its beginning, and finds its sound track."""
        options = {"format_whitelist": _FORMATS}
        if self._to_the_end:
            options["ignore_length"] = "1"
        with (
            self._errors(),
            av.open(
                self._file.section(0),
                "r",
                # What begins with a frame of MP3 need not be guessed.
                format="mp3" if begins_with_mpeg(self._file) else None,
                container_options=options,
                **_ANY_METADATA,
            ) as container,
        ):
            tracks = container.streams.audio
            if len(tracks) != 1:
                raise InputError(
                    f"{self._name}: holds {len(tracks)} sound tracks, and one is needed"
                    + (": ffmpeg -map 0:a:0 extracts the first" if tracks else "")
                )
            codec = tracks[0].codec_context
            if not isinstance(codec, AudioCodecContext):
                raise InputError(f"{self._name}: has sound in a format without decoder")
            if _is_encrypted(codec):
                raise InputError(f"{self._name}: is encrypted, and cannot be read")
            yield container, tracks[0]

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        """Turns an error of FFmpeg into an `InputError`."""
        try:
            yield
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self._name}: {self._fault()}") from None

    def _fault(self) -> str:
        head = self._file.bytes_at(0, 12)
        if head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
            return "is a damaged MP3 or AAC file, or cut short"
        if head[:4] in _MAGIC or head[4:8] == b"ftyp":
            return "is damaged, or cut short"
        return "is not audio of a known format"

    def _decode(self) -> Iterator[AudioFrame]:
        """Yields the frames of a format with timestamps, and looks for holes."""
        begin = end = None
        seconds = 0.0
        with self._errors():
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    last_end = packet.pts + (packet.duration or 0)
                    self._end_seconds = last_end * self._time_base
                for frame in self._stream.codec_context.decode(packet):
                    if (start := frame.time) is not None:
                        if end is not None and start > end + _HOLE_SECONDS:
                            raise self._hole(start - end, end)
                        begin = start if begin is None else begin
                        end = start + frame.samples / frame.sample_rate
                    seconds += frame.samples / frame.sample_rate
                    yield frame
        # Many short holes add up. A thousandth may be the drift of a clock.
        if begin is not None and end is not None:
            missing = end - begin - seconds
            if missing > _HOLE_SECONDS + 0.001 * seconds:
                raise self._hole(missing, begin)

    def _decode_bare(self, bare: BareFrames) -> Iterator[AudioFrame]:
        """Yields the frames of a format without timestamps."""
        # Frames are short, so that what is done for each of them takes time.
        decode, sound = self._stream.codec_context.decode, bare.sound
        with self._errors():
            for packet in self._container.demux(self._stream):
                checked = sound(packet) if packet.size else packet
                if checked is not None:
                    yield from decode(checked)

    def _hole(self, seconds: float, after: float) -> InputError:
        return InputError(
            f"{self._name}: {seconds:.2f} s of sound are missing after {after:.2f} s"
        )

    def _stated_seconds(self) -> float | None:
        """The length that the file states; None if it does not state one."""
        stream, container = self._stream, self._container
        if self._to_the_end or (self._bare and not stream.start_time):
            return None
        if stream.duration:
            return stream.duration * self._time_base
        return (container.duration or 0) / av.time_base or None

    def _stated_samples(self, decoded: int) -> int:
        """How many of the decoded samples are meant, according to MP4 and its kin."""
        stream = self._stream
        if "mov" not in self._container.format.name or not stream.duration:
            return decoded
        return round(stream.duration * self._time_base * self.sample_rate)

    def _check_end(self) -> None:
        """Checks that all is there which the file promises.

        Raises:
            InputError: Something is missing.
        """
        if self._bare is not None:
            return self._bare.finish()
        stated = self._stated_seconds()
        # The length of a film may be that of its pictures.
        if stated is None or (
            not self._stream.duration and len(self._container.streams) > 1
        ):
            return
        found = self._end_seconds - (self._container.start_time or 0) / av.time_base
        is_exact = self._container.format.name in _EXACT_FORMATS
        if found < stated - (0.001 if is_exact else _MISSING_SECONDS):
            raise InputError(
                f"{self._name}: is cut short: {stated:.2f} s are promised, "
                f"{found:.2f} s are there"
            )


def _is_encrypted(codec: AudioCodecContext) -> bool:
    try:
        return codec.codec_tag in _ENCRYPTED
    except UnicodeDecodeError:  # The tag of another container than MP4.
        return False


def _samples(frame: AudioFrame) -> Float[np.ndarray, "S C"]:
    """Converts samples to floats in [-1, 1]."""
    array = frame.to_ndarray()
    match array.dtype.kind:
        case "u":
            array = (array.astype(np.float32) - 128) / 128
        case "i":
            array = array.astype(np.float32) / (1 << 8 * array.dtype.itemsize - 1)
        case _:
            array = array.astype(np.float32, copy=False)
    if frame.format.is_planar:
        return array.T
    return array.reshape(-1, frame.layout.nb_channels)
