"""How fast the encoders are on this CPU, beside the same network in plain PyTorch.

python -m experiments.benchmarks.encoders --output encoders.json
taskset -c 0,1 python -m experiments.benchmarks.encoders --encoders audiomae --batch 2

Untrained networks of the base size turn spectrograms into 512 tokens per clip: 10.24 s
of audio, 20.48 s for Dasheng, whose tokens are of time alone. PyTorch runs a plain ViT,
the network of AudioMAE. Every program has a process of its own; they take turns, and
the table shows medians. Without PyTorch (`pip install -e '.[bench]'`) its rows are left
out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags

from experiments.benchmarks import side_by_side, torch_vit
from experiments.benchmarks.side_by_side import Contender, Timing, mebibytes, ratio

ENCODERS = flags.DEFINE_list(
    "encoders",
    ["audiomae", "asit", "eat", "sslam", "beats", "dasheng"],
    "Names of encoders, separated by commas.",
)
PRECISIONS = flags.DEFINE_list(
    "precisions", ["float32", "bfloat16"], "Types of the products."
)
BATCH = flags.DEFINE_integer("batch", 8, "Clips per call.", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 7, "Timed calls of each.", lower_bound=1)
SMALL = flags.DEFINE_bool("small", False, "Tiny networks: does the program run?")
OUTPUT = flags.DEFINE_string("output", None, "JSON file of everything measured.")

TOKENS = 512
# (frames, mel bands) that make so many.
FRAMES = {"dasheng": (4 * TOKENS, 64)}
USUAL = (1024, 128)
# (width, depth, heads).
BASE, TINY = (768, 12, 12), (32, 1, 2)
PLAIN, TORCH = "audiomae", "plain ViT in PyTorch"

Size = tuple[int, int, int]


def main(_: list[str]) -> None:
    """Measures, prints, writes."""
    size = TINY if SMALL.value else BASE
    timings = side_by_side.measure(list(contenders(size)), REPEATS.value)
    print(report(timings, size))
    if OUTPUT.value:
        facts = {"width": size[0], "depth": size[1], "tokens": TOKENS}
        side_by_side.write(OUTPUT.value, timings, facts)


def contenders(size: Size) -> Iterator[Contender]:
    """In the order of the table."""
    clips, torch = BATCH.value, side_by_side.has_torch()
    for precision in PRECISIONS.value:
        if torch:
            make = functools.partial(
                torch_vit.prepare, precision, (clips, *USUAL), size
            )
            yield Contender(TORCH, precision, make, clips)
        for name in ENCODERS.value:
            make = functools.partial(prepare, name, precision, clips, size)
            yield Contender(name, precision, make, clips)


def prepare(name: str, precision: str, clips: int, size: Size) -> Callable[[], object]:
    """A function that runs an encoder on random spectrograms."""
    # Here, so that the process that only asks does not load JAX.
    import jax
    import numpy as np

    from unmute_jax.encoders import load_encoder
    from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder

    width, depth, heads = size
    encoder = load_encoder(
        name,
        weights="untrained",
        width=width,
        depth=depth,
        num_heads=heads,
        precision=precision,
    )
    assert isinstance(encoder, SpectrogramEncoder)
    shape = (clips, *FRAMES.get(name, USUAL))
    spectrogram = np.random.default_rng(0).standard_normal(shape, np.float32)
    return lambda: jax.block_until_ready(encoder.encode(spectrogram).patches)


def report(timings: Sequence[Timing], size: Size) -> str:
    """The table.

    Columns: clips per second; how many times as fast as PyTorch and as the plain ViT
    among ours; 10^9 operations per second in the blocks of a plain ViT; peak memory of
    the process.
    """
    rows = [
        [
            t.name,
            t.group,
            f"{t.clips_per_second:.3g}",
            ratio(t, TORCH, timings),
            ratio(t, PLAIN, timings),
            f"{t.clips_per_second * block_operations(size) / 1e9:.0f}",
            mebibytes(t.peak_bytes),
        ]
        for t in timings
    ]
    header = ["", "", "clips/s", "/ PyTorch", f"/ {PLAIN}", "GF/s", "peak MiB"]
    clips, cores = timings[0].clips, side_by_side.cores()
    place = f"{cores} cores, {clips} clips of {TOKENS} tokens per call"
    return f"{place}\n\n{side_by_side.table(header, rows)}"


def block_operations(size: Size) -> float:
    """Additions and multiplications in the blocks of a plain ViT, for one clip."""
    width, depth, _ = size
    n = TOKENS + 1
    linear_maps, attention = 24 * n * width**2, 4 * n**2 * width
    return float(depth * (linear_maps + attention))


if __name__ == "__main__":
    app.run(main)
