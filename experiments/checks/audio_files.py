"""Small audio files of every format, each with the signal that it was written from."""

from __future__ import annotations

import functools
import io
import pathlib
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import soundfile as sf
from av.audio.stream import AudioStream

Signal = np.ndarray
Writer = Callable[[np.ndarray, int], bytes]


@dataclass(frozen=True, kw_only=True)
class AudioFormat:
    """A kind of file.

    Attributes:
        name: The name in tables.
        write: Encodes a signal `[samples, channels]` at a rate in Hz.
        rate: Sample rate in Hz.
        channels: The number of channels.
        snr: The lowest signal-to-noise ratio in dB of a right decoder. The loss is that
            of the encoder.
        delay: The number of samples in front of the signal, in formats that do not say
            how many an encoder has added.
        more: The largest number of further samples, with which an encoder has filled
            up its last frame. If it is negative, as many are missing, because the file
            states its length without the delay.
    """

    name: str
    write: Writer
    rate: int = 16_000
    channels: int = 1
    snr: float = 20.0
    delay: int = 0
    more: int = 0

    def signal(self) -> Signal:
        """Returns the signal that is written."""
        return make_signal(self.rate, self.channels)

    def encode(self) -> bytes:
        """Returns the content of a file."""
        return self.write(self.signal(), self.rate)


def make_signal(rate: int, channels: int = 1, seconds: float = 0.4) -> Signal:
    """Makes tones that differ between channels and fade in and out.

    Returns:
        The signal `[samples, channels]`, float32.
    """
    t = np.arange(round(rate * seconds)) / rate
    columns = [
        0.3 * np.sin(2 * np.pi * (330 + 110 * c) * t + c)
        + 0.1 * np.sin(2 * np.pi * (701 + 90 * c) * t)
        for c in range(channels)
    ]
    fade = np.clip(np.minimum(t, t[-1] - t) / 0.02, 0, 1)
    return (np.stack(columns, axis=1) * fade[:, None]).astype(np.float32)


def with_libsndfile(
    x: Signal, rate: int, *, format: str, subtype: str, **options: Any
) -> bytes:
    """Encodes a signal with libsndfile."""
    file = io.BytesIO()
    sf.write(file, x, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class FfmpegEncoding:
    """How FFmpeg writes a file."""

    container: str
    codec: str
    tracks: int = 1
    has_pictures: bool = False
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)
    sample_format: str | None = None


def with_ffmpeg(x: Signal, rate: int, how: FfmpegEncoding) -> bytes:
    """Encodes a signal with FFmpeg, in each of the tracks."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[x.shape[1]]
    with tempfile.TemporaryDirectory() as folder:
        # Some containers are read once more when they are finished.
        path = pathlib.Path(folder) / "file"
        with av.open(
            str(path), "w", format=how.container, options=how.options
        ) as output:
            pictures = output.add_stream("mpeg4", rate=10) if how.has_pictures else None
            streams = [
                cast(
                    AudioStream,
                    output.add_stream(how.codec, rate, options=how.codec_options),
                )
                for _ in range(how.tracks)
            ]
            for stream in streams:
                stream.codec_context.layout = layout
                if how.bit_rate:
                    stream.bit_rate = how.bit_rate
                if how.sample_format:
                    stream.codec_context.format = how.sample_format
            if pictures is not None:
                pictures.width = pictures.height = 32
                pictures.pix_fmt = "yuv420p"
                for i in range(4):
                    image = np.full((32, 32, 3), 40 * i, np.uint8)
                    picture = av.VideoFrame.from_ndarray(image)
                    picture.pts = i
                    output.mux(pictures.encode(picture))
                output.mux(pictures.encode(None))
            output.start_encoding()
            for stream in streams:
                for frame in _frames(x, rate, stream.codec_context):
                    output.mux(stream.encode(frame))
        return path.read_bytes()


def _frames(x: Signal, rate: int, codec: Any) -> list[av.AudioFrame | None]:
    """The signal in the frames that an encoder takes, and None to end them."""
    codec.open(strict=False)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(x.T), "fltp", codec.layout.name
    )
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(
        codec.format.name, codec.layout.name, rate, codec.frame_size or None
    )
    return [*resampler.resample(frame), *resampler.resample(None), None]


def patched(data: bytes, after: bytes, offset: int, value: bytes) -> bytes:
    """Overwrites bytes at an offset behind the first occurrence of `after`."""
    at = data.index(after) + len(after) + offset
    return data[:at] + value + data[at + len(value) :]


ID3_TAG = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
ID3V1_TAG = b"TAG" + bytes(125)
WAV_CHUNK = b"LIST\x04\0\0\0INFO"


def _sf(format: str, subtype: str, **options: Any) -> Writer:
    return functools.partial(with_libsndfile, format=format, subtype=subtype, **options)


def _ff(container: str, codec: str, **options: Any) -> Writer:
    how = FfmpegEncoding(container=container, codec=codec, **options)
    return functools.partial(with_ffmpeg, how=how)


def _stored(name: str) -> Writer:
    """Reads `make_signal(8_000)` as PyAV 18 wrote it: PyAV 19 cannot encode it."""
    return lambda x, rate: (pathlib.Path(__file__).parent / "audio" / name).read_bytes()


def _changed(write: Writer, change: Callable[[bytes], bytes]) -> Writer:
    return lambda x, rate: change(write(x, rate))


def _sized(write: Writer, kind: bytes, size: int, layout: str = "<I") -> Writer:
    """States another size for a chunk of a file."""
    value = struct.pack(layout, size)
    return _changed(write, lambda data: patched(data, kind, 0, value))


def _before(tag: bytes, write: Writer) -> Writer:
    return _changed(write, lambda data: tag + data)


def _behind(write: Writer, tag: bytes) -> Writer:
    return _changed(write, lambda data: data + tag)


def _joined(write: Writer) -> Writer:
    """Writes both halves of a signal as a file, and joins the files."""
    return lambda x, rate: write(x[: len(x) // 2], rate) + write(x[len(x) // 2 :], rate)


def _without_length(flac: bytes) -> bytes:
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def _group(writers: dict[str, Writer], **fields: Any) -> list[AudioFormat]:
    return [AudioFormat(name=name, write=f, **fields) for name, f in writers.items()]


def _of_libsndfile(names: str, **fields: Any) -> list[AudioFormat]:
    """Formats of libsndfile, such as "WAV PCM_16, AU ULAW"."""
    pairs = [name.split() for name in names.split(", ")]
    writers = {f"{kind}, {subtype}": _sf(kind, subtype) for kind, subtype in pairs}
    return _group(writers, **fields)


_WAV, _FLAC = _sf("WAV", "PCM_16"), _sf("FLAC", "PCM_16")
_VORBIS, _OPUS = _sf("OGG", "VORBIS"), _sf("OGG", "OPUS")
_MP3 = _ff("mp3", "libmp3lame")
_NO_TAG = {"write_xing": "0", "id3v2_version": "0"}
_VBR = {"compression_level": "5", "flags": "+qscale", "global_quality": "472"}
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}

# The signal-to-noise ratio is that of the bits of a sample, or of the encoder.
FORMATS: tuple[AudioFormat, ...] = (
    *_of_libsndfile("WAV PCM_U8, AIFF PCM_S8, AU PCM_S8, FLAC PCM_S8"),
    *_of_libsndfile(
        "WAV PCM_16, WAVEX PCM_16, RF64 PCM_16, W64 PCM_16, AIFF PCM_16, CAF PCM_16, "
        "AU PCM_16, NIST PCM_16, FLAC PCM_16, CAF ALAC_16",
        channels=2,
        snr=78,
    ),
    *_of_libsndfile(
        "WAV PCM_24, WAVEX PCM_24, W64 PCM_24, AIFF PCM_24, CAF PCM_24, FLAC PCM_24, "
        "CAF ALAC_24",
        channels=2,
        snr=125,
    ),
    *_of_libsndfile(
        "WAV PCM_32, WAV FLOAT, WAV DOUBLE, RF64 FLOAT, W64 FLOAT, AIFF PCM_32, "
        "AIFF FLOAT, AIFF DOUBLE, CAF FLOAT, AU FLOAT",
        channels=2,
        snr=150,
    ),
    *_of_libsndfile("WAV ULAW, WAV ALAW, AIFF ULAW, AIFF ALAW, AU ULAW", channels=2),
    *_of_libsndfile(
        "WAV IMA_ADPCM, WAV MS_ADPCM, W64 IMA_ADPCM, AIFF IMA_ADPCM, WAV NMS_ADPCM_32",
        snr=25,
        more=1017,
    ),
    *_of_libsndfile("WAV GSM610, AIFF GSM610, WAV G721_32", snr=20, more=80),
    *_group(
        {
            "WAV, big-endian (RIFX)": _sf("WAV", "PCM_16", endian="BIG"),
            "AIFF, little-endian (sowt)": _sf("AIFF", "PCM_16", endian="LITTLE"),
            "WAV, size 0 (never finished)": _sized(_WAV, b"data", 0),
            "WAV, size 0xFFFFFFFF (piped)": _sized(_WAV, b"data", 0xFFFFFFFF),
            "WAV, size 0x7FFFF000 (piped)": _sized(_WAV, b"data", 0x7FFFF000),
            "WAV, chunk behind the samples": _behind(_WAV, WAV_CHUNK),
            "WAV, ID3v1 tag behind": _behind(_WAV, ID3V1_TAG),
            "WAV, ID3v2 tag in front": _before(ID3_TAG, _WAV),
            "AU, size not known": _sized(
                _sf("AU", "PCM_16"), bytes(3) + b"\x18", 2**32 - 1
            ),
            "CAF, size not known": _sized(
                _sf("CAF", "PCM_16"), b"data", 2**64 - 1, ">Q"
            ),
            "FLAC, length not known (piped)": _changed(_FLAC, _without_length),
            "FLAC, ID3v2 tag in front": _before(ID3_TAG, _FLAC),
            "FLAC, ID3v1 tag behind": _behind(_FLAC, ID3V1_TAG),
            "FLAC, two files joined": _joined(_FLAC),
            "Ogg, FLAC": _ff("oga", "flac"),
            "MP4, FLAC": _ff("mp4", "flac", options={"strict": "-2"}),
            "MOV, 16 bits": _ff("mov", "pcm_s16be"),
            "MKA, 16 bits": _ff("matroska", "pcm_s16le"),
            "MKA, FLAC": _ff("matroska", "flac"),
            "M4A, ALAC, 16 bits": _ff("ipod", "alac", sample_format="s16p"),
            "WavPack, 16 bits": _ff("wv", "wavpack", sample_format="s16p"),
            "True Audio, 16 bits": _ff("tta", "tta", sample_format="s16"),
        },
        channels=2,
        snr=78,
    ),
    *_group(
        {
            "M4A, ALAC, 24 bits": _ff("ipod", "alac", sample_format="s32p"),
            "MOV, 24 bits": _ff("mov", "pcm_s24le"),
        },
        channels=2,
        snr=125,
    ),
    *_group({"WAV, six channels": _WAV}, rate=48_000, channels=6, snr=74),
    *_group(
        {"Ogg, Vorbis": _VORBIS, "Ogg, Vorbis, two files joined": _joined(_VORBIS)},
        channels=2,
        snr=24,
    ),
    *_group(
        {
            "Ogg, Opus": _OPUS,
            "Ogg, Opus, two files joined": _joined(_OPUS),
            "MP4, Opus": _ff("mp4", "libopus"),
            "WebM, Opus": _ff("webm", "libopus"),
            "WebM, Opus, piped": _ff("webm", "libopus", options={"live": "1"}),
            "MKV, Opus and pictures": _ff("matroska", "libopus", has_pictures=True),
        },
        rate=48_000,
        channels=2,
        snr=15,
    ),
    # FFmpeg's encoder of Vorbis is poor.
    *_group(
        {"WebM, Vorbis": _ff("webm", "vorbis", codec_options={"strict": "-2"})},
        channels=2,
        snr=7,
    ),
    *_group(
        {
            "MP3": _sf("MP3", "MPEG_LAYER_III"),
            "MP3, 128 kbit/s": _MP3,
            "MP3, variable bit rate": _ff("mp3", "libmp3lame", codec_options=_VBR),
            "MP3, ID3v1 tag behind": _behind(_MP3, ID3V1_TAG),
            "MP4, MP3": _ff("mp4", "libmp3lame"),
            "MKA, MP3": _ff("matroska", "libmp3lame"),
            "M4A, AAC": _ff("ipod", "aac"),
            "M4A, AAC, header in front": _ff(
                "ipod", "aac", options={"movflags": "faststart"}
            ),
            "MP4, AAC and pictures": _ff("mp4", "aac", has_pictures=True),
        },
        rate=44_100,
        channels=2,
    ),
    *_group({"MP3, 22.05 kHz (MPEG-2)": _MP3}, rate=22_050),
    *_group({"MP3, 8 kHz (MPEG-2.5)": _MP3}, rate=8_000),
    # These formats do not say how many samples the encoder has added.
    *_group(
        {
            "MP3 without tag": _ff("mp3", "libmp3lame", options=_NO_TAG),
            "MP3 without tag, variable bit rate": _ff(
                "mp3", "libmp3lame", options=_NO_TAG, codec_options=_VBR
            ),
            "WAV, MP3": _ff("wav", "libmp3lame"),
            "AVI, MP3 and pictures": _ff("avi", "libmp3lame", has_pictures=True),
        },
        rate=44_100,
        delay=1105,
        more=1152,
    ),
    *_group(
        {
            "AAC (ADTS)": _ff("adts", "aac"),
            "MP4, AAC, fragments": _ff("mp4", "aac", options=_FRAGMENTS),
            "MPEG-TS, AAC": _ff("mpegts", "aac"),
            "FLV, AAC": _ff("flv", "aac"),
        },
        rate=44_100,
        channels=2,
        delay=1024,
        more=1024,
    ),
    *_group({"MKA, AAC": _ff("matroska", "aac")}, rate=44_100, channels=2, more=1024),
    *_group(
        {
            "WMA 1": _ff("asf", "wmav1", bit_rate=128_000),
            "WMA 2": _ff("asf", "wmav2", bit_rate=128_000),
        },
        rate=44_100,
        channels=2,
        delay=2048,
        more=2048,
    ),
    *_group(
        {
            "AC-3": _ff("ac3", "ac3", bit_rate=256_000),
            "E-AC-3": _ff("eac3", "eac3", bit_rate=256_000),
        },
        rate=48_000,
        channels=2,
        delay=256,
        more=1536,
    ),
    *_group({"MP2": _ff("mp2", "mp2")}, rate=44_100, delay=481, more=1152),
    *_group({"WAV, G.726": _ff("wav", "g726")}, rate=8_000),
    *_group({"WAV, G.722": _ff("wav", "g722")}, delay=22, more=-22),
    *_group({"3GP, AMR": _stored("tones.3gp")}, rate=8_000, snr=10, delay=36, more=-36),
    *_group({"AMR": _stored("tones.amr")}, rate=8_000, snr=10, delay=86, more=160),
)


def find_delay(written: np.ndarray, decoded: np.ndarray, longest: int = 3000) -> int:
    """Finds how many samples lie in front of a mono signal in what was decoded."""
    size = 1 << (len(written) + len(decoded)).bit_length()
    spectrum = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(written, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[:longest]))


def snr(written: np.ndarray, decoded: np.ndarray) -> float:
    """Returns the signal-to-noise ratio in dB of what was decoded, up to 999."""
    noise = np.sum((written - decoded) ** 2, dtype=np.float64)
    power = np.sum(written**2, dtype=np.float64)
    return float(min(999, 10 * np.log10(power / max(noise, 1e-300))))
