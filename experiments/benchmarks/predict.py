"""Measures time and memory of `unmute predict` on long recordings.

python -m experiments.benchmarks.predict --workdir RUN --probe protobin
python -m experiments.benchmarks.predict --workdir RUN --minutes=6 --minutes=600

The program joins clips of the embedded ESC-10 sample in random order, at a sample rate
that no encoder uses, and predicts the recording with the probe of RUN in a process of
its own. Memory is the peak resident memory of that process. It should hardly grow with
the length of the recording.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np
import soundfile as sf
from absl import flags

from experiments.benchmarks.measured_process import measure
from unmute_jax.audio.resample import resample
from unmute_jax.cli import program
from unmute_jax.cli.finished_run import PROBE
from unmute_jax.console import progress
from unmute_jax.datasets import load_dataset
from unmute_jax.errors import InputError

MINUTES = flags.DEFINE_multi_integer(
    "minutes",
    [6, 60],
    "A length of the recording in minutes. It may be given several times.",
)
RATE = flags.DEFINE_integer("rate", 44_100, "The sample rate of the recording in Hz.")


def main(rest: list[str]) -> None:
    """Makes the recordings and prints one line for each of them."""
    if not program.WORKDIR.value or rest:
        raise InputError("give the run with --workdir RUN, and no other argument")
    probe = PROBE.value
    for minutes in MINUTES.value:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"{minutes}_minutes.flac"
            make_recording(path, minutes, RATE.value)
            seconds, peak = measure(
                sys.executable, "-m", "experiments.predict", str(path),
                f"--workdir={program.WORKDIR.value}", f"--output={folder}/out",
                *([f"--probe={probe}"] if probe else []),
            )  # fmt: skip
        print(
            f"{minutes} minutes at {RATE.value} Hz: {seconds:.1f} s, "
            f"{60 * minutes / seconds:.0f} times as fast as real time, "
            f"{peak / 2**20:.0f} MiB at most",
            flush=True,
        )


def make_recording(path: pathlib.Path, minutes: int, rate: int) -> None:
    """Writes clips of ESC-10 one after the other, in a fixed random order.

    Only one clip is in memory at a time.
    """
    dataset = load_dataset("esc10")
    clips = dataset.source_of(max(dataset.splits, key=lambda s: dataset.splits[s]))
    rng = np.random.default_rng(0)
    missing = 60 * minutes * rate
    with (
        sf.SoundFile(path, "w", rate, channels=1) as file,
        progress("recording", missing, unit="samples") as advance,
    ):
        while missing:
            clip = clips[int(rng.integers(len(clips)))]
            x = resample(clip.waveform, clip.sample_rate, rate)[:missing]
            file.write(x)
            missing -= len(x)
            advance(len(x))


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
