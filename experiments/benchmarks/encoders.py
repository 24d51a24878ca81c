"""Times the encoders on this CPU beside a plain vision transformer in PyTorch.

python -m experiments.benchmarks.encoders --output encoders.json
taskset -c 0,1 python -m experiments.benchmarks.encoders --encoders audiomae --batch 2

Untrained networks of base size turn spectrograms into 512 tokens per clip: 10.24 s of
audio, or 20.48 s for Dasheng, which has no frequency axis. PyTorch runs a plain ViT,
the network of AudioMAE. Each program runs in a process of its own, the programs take
turns, and the table shows medians. Without PyTorch (`pip install -e '.[bench]'`) its
rows are left out.
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
    "The encoders, separated by commas.",
)
PRECISIONS = flags.DEFINE_list(
    "precisions", ["float32", "bfloat16"], "The precisions of the matrix products."
)
BATCH = flags.DEFINE_integer("batch", 8, "The number of clips per call.", lower_bound=1)
REPEATS = flags.DEFINE_integer(
    "repeats", 7, "The number of timed calls of each program.", lower_bound=1
)
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny networks, to see that the program runs."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A JSON file for everything that is measured."
)

TOKENS = 512
# The (frames, mel bands) that become so many tokens.
FRAMES = {"dasheng": (4 * TOKENS, 64)}
USUAL = (1024, 128)
# The networks as (width, depth, heads).
BASE, TINY = (768, 12, 12), (32, 1, 2)
PLAIN, TORCH = "audiomae", "plain ViT in PyTorch"

Size = tuple[int, int, int]


def main(_: list[str]) -> None:
    """Measures all programs, prints the table and writes the file."""
    size = TINY if SMALL.value else BASE
    timings = side_by_side.measure(list(contenders(size)), REPEATS.value)
    print(report(timings, size))
    if OUTPUT.value:
        facts = {"width": size[0], "depth": size[1], "tokens": TOKENS}
        side_by_side.write(OUTPUT.value, timings, facts)


def contenders(size: Size) -> Iterator[Contender]:
    """Yields the programs in the order of the table."""
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
    """Returns a function that runs an encoder on random spectrograms."""
    # Imported here, so that the controlling process does not load JAX.
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
    """The table as Markdown.

    Its columns are clips per second, the ratio to PyTorch, the ratio to our plain ViT,
    10^9 operations per second in the blocks of a plain ViT, and the peak memory of the
    process.
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
    """Additions and multiplications in the blocks of a plain ViT for one clip."""
    width, depth, _ = size
    n = TOKENS + 1
    linear_maps, attention = 24 * n * width**2, 4 * n**2 * width
    return float(depth * (linear_maps + attention))


if __name__ == "__main__":
    app.run(main)
