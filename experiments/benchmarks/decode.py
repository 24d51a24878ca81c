"""Times the decoding of short clips beside soundfile alone.

python -m experiments.benchmarks.decode

All read the same file of 10 s from the disk: `soundfile.read` alone, the same with the
average of the channels as float32, and the decoder of this project, which averages
them, too, and checks the file. They take turns. The table shows medians of the time on
the CPU, and their ratios to `soundfile.read` alone.
"""

from __future__ import annotations

import io
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import soundfile as sf
from absl import app, flags

from unmute_jax.audio.decode import AudioFile, read_audio

SECONDS = flags.DEFINE_float(
    "seconds", 10.0, "The length of a file in seconds.", lower_bound=0.1
)
REPEATS = flags.DEFINE_integer(
    "repeats", 41, "How often each file is decoded.", lower_bound=1
)
SMALL = flags.DEFINE_bool("small", False, "Use short files, once each.")

RATE = 44_100
FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_16", "MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}


def main(_: list[str]) -> None:
    """Measures all formats and prints the table."""
    seconds, repeats = (0.5, 1) if SMALL.value else (SECONDS.value, REPEATS.value)
    names = ["soundfile", "and average", "read_audio", "AudioFile.blocks"]
    print(f"| format | {' | '.join(f'{name}, ms' for name in names)} |")
    print(f"|---|{'---:|' * len(names)}")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "clip"
        for format, subtype in FORMATS.items():
            for channels, name in ((1, "mono"), (2, "stereo")):
                path.write_bytes(_encoded(format, subtype, channels, seconds))
                medians = _times(
                    (_soundfile, _averaged, _whole, _blocks), path, repeats
                )
                alone = medians[0]
                cells = [f"{alone:.2f}"]
                for median in medians[1:]:
                    cells.append(f"{median:.2f} ({median / alone:.2f})")
                print(f"| {format}, {name} | {' | '.join(cells)} |", flush=True)


def _encoded(format: str, subtype: str, channels: int, seconds: float) -> bytes:
    """Tones that fade, and noise, which no codec leaves out."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    tones = [220, 330, 554, 880, 1760, 3520, 5000]
    x = sum(
        np.sin(2 * np.pi * f * t) * np.exp(-3 * ((3 * t + f / 7) % 1)) for f in tones
    )
    x = np.asarray(x)[:, None] / 10 + 0.02 * rng.standard_normal((len(t), channels))
    file = io.BytesIO()
    sf.write(file, x, RATE, format=format, subtype=subtype)
    return file.getvalue()


def _soundfile(path: pathlib.Path) -> object:
    return sf.read(path)


def _averaged(path: pathlib.Path) -> object:
    x, _ = sf.read(path, dtype="float32", always_2d=True)
    return x.mean(axis=1)


def _whole(path: pathlib.Path) -> object:
    return read_audio(path)


def _blocks(path: pathlib.Path) -> object:
    with AudioFile(path) as file:
        return list(file.blocks())


def _times(
    programs: tuple[Callable[[pathlib.Path], object], ...],
    path: pathlib.Path,
    repeats: int,
) -> list[float]:
    """The median milliseconds of each program; they take turns."""
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(repeats):
        for program, measured in zip(programs, times, strict=True):
            begin = time.process_time()
            program(path)
            measured.append(1000 * (time.process_time() - begin))
    return [statistics.median(measured) for measured in times]


if __name__ == "__main__":
    app.run(main)
