"""Measures how much tokens change when an encoder multiplies in bfloat16.

python -m experiments.benchmarks.precision
python -m experiments.benchmarks.precision --encoders eat \
    --weights EAT-base_epoch30_pt.pt

Each encoder computes the tokens of real sounds from the embedded sample in float32 and
in bfloat16. The table shows the root mean square of the difference and the largest
difference, both relative to the root mean square of the tokens, and the smallest cosine
between a token and its bfloat16 version.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.datasets import load_dataset
from unmute_jax.encoders import Encoder, load_encoder

ENCODERS = flags.DEFINE_list(
    "encoders",
    ["audiomae", "asit", "eat", "sslam", "beats", "dasheng"],
    "The encoders, separated by commas.",
)
WEIGHTS = flags.DEFINE_string(
    "weights", "untrained", 'A file of weights, or "untrained".'
)
CLIPS = flags.DEFINE_integer(
    "clips", 4, "The number of mixtures of 10 s to compare.", lower_bound=1
)


def main(rest: list[str]) -> None:
    """Prints one row of a Markdown table per encoder."""
    program.only_options(rest)
    clips = load_dataset("esc_mix").source_of("test")
    waveform = np.stack([clips[i].waveform for i in range(CLIPS.value)])
    print("| encoder | rms error | largest error | smallest cosine |")
    print("|---|---:|---:|---:|")
    with progress("encoders", len(ENCODERS.value), unit="encoders") as advance:
        for name in ENCODERS.value:
            exact, rounded = (tokens(name, p, waveform) for p in PRECISIONS)
            print(line(name, exact, rounded), flush=True)
            advance(1)


PRECISIONS = ("float32", "bfloat16")


def tokens(name: str, precision: str, waveform: np.ndarray) -> np.ndarray:
    """The tokens of all clips, `[N, D]` float64."""
    untrained = WEIGHTS.value == "untrained"
    encoder: Encoder = load_encoder(
        name,
        None if untrained else WEIGHTS.value,
        weights="untrained" if untrained else None,
        precision=precision,
    )
    patches = np.concatenate([encoder(clip[None]).patches for clip in waveform])
    return patches.reshape(-1, patches.shape[-1]).astype(np.float64)


def line(name: str, exact: np.ndarray, rounded: np.ndarray) -> str:
    """The row of an encoder as Markdown."""
    scale = np.sqrt(np.square(exact).mean())
    difference = rounded - exact
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    cosine = ((exact * rounded).sum(1) / norms).min()
    rms = np.sqrt(np.square(difference).mean()) / scale
    largest = np.abs(difference).max() / scale
    return f"| {name} | {rms:.1e} | {largest:.1e} | {cosine:.5f} |"


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
