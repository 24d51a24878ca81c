"""Times the front ends on this CPU beside NumPy and PyTorch.

python -m experiments.benchmarks.frontends --output frontends.json

The spectrograms of all programs are compared first. Then each program runs in a process
of its own, the programs take turns, and the table shows medians. Without PyTorch
(`pip install -e '.[bench]'`) its rows are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
from absl import app, flags

from experiments.benchmarks import side_by_side, usual_frontends
from experiments.benchmarks.side_by_side import Contender, Timing, mebibytes, ratio
from unmute_jax import console
from unmute_jax.encoders import beats, logmel
from unmute_jax.weights.dasheng import MEL

BATCH = flags.DEFINE_integer(
    "batch", 32, "The number of clips per call.", lower_bound=1
)
SECONDS = flags.DEFINE_float(
    "seconds", 10.0, "The length of a clip in seconds.", lower_bound=0.1
)
REPEATS = flags.DEFINE_integer(
    "repeats", 9, "The number of timed calls of each program.", lower_bound=1
)
SMALL = flags.DEFINE_bool(
    "small",
    False,
    "Time one front end on two short clips, to see that the program runs.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A JSON file for everything that is measured."
)

FRONT_ENDS: dict[str, usual_frontends.Options] = {
    "Kaldi, Hann window": logmel.LogmelEncoder.filters,
    "Kaldi, Povey window": beats.BeatsEncoder.filters,
    "mel in decibels": MEL,
}
OURS = "unmute_jax"
MAKERS = {
    OURS: "in_jax",
    "NumPy, clip by clip": "in_numpy",
    "NumPy in float32": "in_numpy_float32",
    "PyTorch": "in_torch",
}
# The largest difference in log energy that float32 transforms cause.
TOLERANCE = 2e-2


def main(_: list[str]) -> None:
    """Compares and measures the programs, prints the table and writes the file."""
    clips, samples = (2, 8000) if SMALL.value else (BATCH.value, sample_count())
    console.set_verbose()
    timed = list(FRONT_ENDS)[: 1 if SMALL.value else None]
    makers = dict(MAKERS)
    if not side_by_side.has_torch():
        del makers["PyTorch"]
    compare(makers)
    timings = side_by_side.measure(
        list(contenders(timed, makers, clips, samples)), REPEATS.value
    )
    print(report(timings, samples))
    if OUTPUT.value:
        side_by_side.write(OUTPUT.value, timings, {"samples": samples})


def sample_count() -> int:
    """The number of samples of a clip."""
    return round(SECONDS.value * 16_000)


def draw(clips: int, samples: int) -> np.ndarray:
    """Noise with a rising level, so that frames differ, `[clips, samples]`."""
    noise = np.random.default_rng(0).standard_normal((clips, samples), np.float32)
    return noise * np.linspace(0.001, 0.5, samples, dtype=np.float32)


def compare(makers: dict[str, str]) -> None:
    """Checks that all programs compute the same spectrograms.

    Raises:
        RuntimeError: A program differs from ours by more than `TOLERANCE`.
    """
    waveform = draw(2, 16_000)
    for what, options in FRONT_ENDS.items():
        made = {
            name: getattr(usual_frontends, maker)(options)(waveform)
            for name, maker in makers.items()
        }
        for name, x in made.items():
            error = np.abs(x - made[OURS]).max()
            if not error < TOLERANCE:
                raise RuntimeError(f"{what}: {name} differs from ours by {error:.2g}")


def contenders(
    front_ends: list[str], makers: dict[str, str], clips: int, samples: int
) -> Iterator[Contender]:
    """Yields the programs in the order of the table."""
    for what in front_ends:
        for name, maker in makers.items():
            make = functools.partial(prepare, what, maker, clips, samples)
            yield Contender(name, what, make, clips)


def prepare(what: str, maker: str, clips: int, samples: int) -> Callable[[], object]:
    """Returns a function that computes the spectrograms of random clips."""
    run = getattr(usual_frontends, maker)(FRONT_ENDS[what])
    return functools.partial(run, draw(clips, samples))


def report(timings: list[Timing], samples: int) -> str:
    """The table as Markdown: clips per second, and the ratio of ours to each."""
    rows = [
        [
            t.name,
            t.group,
            f"{t.clips_per_second:,.0f}",
            ratio(next(x for x in timings if x.group == t.group), t.name, timings),
            mebibytes(t.peak_bytes),
        ]
        for t in timings
    ]
    header = ["", "", "clips/s", "ours / this", "peak MiB"]
    place = f"{side_by_side.cores()} cores, {timings[0].clips} clips"
    return (
        f"{place} of {samples / 16_000:g} s per call\n\n"
        f"{side_by_side.table(header, rows)}"
    )


if __name__ == "__main__":
    app.run(main)
