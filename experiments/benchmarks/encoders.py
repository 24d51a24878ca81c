"""Times the networks of all encoders beside networks in PyTorch.

python -m experiments.benchmarks.encoders --output encoders.json
python -m experiments.benchmarks.encoders --encoders whisper,ast --batch 2
python -m experiments.benchmarks.encoders --platform cuda --batch 32

Untrained networks of base size turn random spectrograms into tokens, ours on float32
numbers and with bfloat16 products, PyTorch's on float32 numbers and all in bfloat16.
The clips have the length that the network was made for: 30 s for Whisper, 20.48 s for
Dasheng (which has no frequency axis, and so 512 tokens like most), 5.12 s for Bird-MAE
and 10.24 s for the others. `ast` and `whisper` run beside the same networks of the
library transformers. The others run beside a plain vision transformer with as many
tokens, which is the network of AudioMAE. Those of BEATs have relative positions as
well, and that of BAT has gates.

An encoder and its network in PyTorch take turns, in both precisions. The table shows
medians, and as "ratio" the median of the ratios within a turn. "share" is the share of
the peak that the maker of the device states. On a CPU each program has a process of its
own, and the last columns are the peak memory of these; on a machine that is busy, pin
the benchmark to one core (`taskset -c 0`), as threads that wait for one another suffer
most. On a GPU all of our networks share a process, and so do those in PyTorch. Without
PyTorch and transformers (`pip install -e '.[bench]'`) their columns are empty.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

from absl import app, flags

from experiments.benchmarks import (
    peaks,
    side_by_side,
    torch_setup,
    torch_transformers,
    torch_vit,
)
from experiments.benchmarks.side_by_side import Contender, Program, Timing, mebibytes
from unmute_jax import console

# (frames, mel bands) of the input, and (width, depth, heads) of the network.
Shape = tuple[int, int]
Size = tuple[int, int, int]

USUAL: Shape = (1024, 128)
SHAPES: dict[str, Shape] = {
    "audiomae": USUAL,
    "asit": USUAL,
    "dasheng": (2048, 64),
    "beats": USUAL,
    "eat": USUAL,
    "sslam": USUAL,
    "whisper": (3000, 80),
    "ast": USUAL,
    "bird_mae": (512, 128),
    "bat": USUAL,
    "openbeats": USUAL,
    "aves2_beats": USUAL,
    "aves2_eat": USUAL,
}
BASE: Size = (768, 12, 12)
# What OpenAI calls "base" is smaller.
SIZES: dict[str, Size] = {"whisper": (512, 6, 8)}
TINY: Size = (32, 1, 2)

ENCODERS = flags.DEFINE_list(
    "encoders", list(SHAPES), "The encoders, separated by commas."
)
PRECISIONS = flags.DEFINE_list(
    "precisions", ["float32", "bfloat16"], "The precisions of the matrix products."
)
PLATFORM = flags.DEFINE_enum(
    "platform", "cpu", ["cpu", "cuda", "tpu"], "What the networks run on."
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

TORCH = "in PyTorch"
HEADER = (
    "encoder",
    "precision",
    "clips/s",
    "PyTorch clips/s",
    "ratio",
    "GFLOP/s",
    "share",
    "MiB",
    "PyTorch MiB",
)


def main(_: list[str]) -> None:
    """Measures encoder by encoder, and prints and writes the rows of each at once."""
    console.set_verbose()
    peers, timings = makers_in_torch(), list[Timing]()
    failed: dict[str, str] = {}
    measure = _in_own_processes if PLATFORM.value == "cpu" else _in_shared_processes
    with measure() as timed:
        for name in ENCODERS.value:
            try:
                new = timed(contenders(name, peers.get(name)), name)
            except RuntimeError as error:
                failed[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            else:
                print(report(new, with_header=not timings), flush=True)
                timings += new
            if OUTPUT.value:
                facts = {"platform": PLATFORM.value, "failed": failed}
                side_by_side.write(OUTPUT.value, timings, facts)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def makers_in_torch() -> dict[str, Callable[..., Any]]:
    """What prepares the network in PyTorch, by the name of the encoder beside it."""
    if PLATFORM.value == "tpu" or not side_by_side.has_torch():
        return {}
    if PLATFORM.value == "cuda" and not torch_setup.has_cuda():
        print("PyTorch finds no GPU: its columns stay empty")
        return {}
    makers: dict[str, Callable[..., Any]] = dict.fromkeys(SHAPES, torch_vit.prepare)
    for name in torch_transformers.NETWORKS:
        makers[name] = functools.partial(torch_transformers.prepare, name)
        if importlib.util.find_spec("transformers") is None:
            print(f"transformers is not installed: nothing to compare {name} with")
            del makers[name]
    return makers


def contenders(name: str, in_torch: Callable[..., Any] | None) -> list[Contender]:
    """The programs of an encoder in each precision.

    Args:
        name: Name of the encoder.
        in_torch: What prepares the network in PyTorch; None without it.
    """
    shape = (BATCH.value, *SHAPES[name])
    size = TINY if SMALL.value else SIZES.get(name, BASE)
    device = "cpu" if PLATFORM.value == "cpu" else "cuda"
    found: list[Contender] = []
    for precision in PRECISIONS.value:
        make = functools.partial(prepare, name, precision, shape, size)
        found.append(Contender(name, precision, make, shape[0]))
        if in_torch:
            # As many tokens as ours, which a patch of Dasheng has over all mel bands.
            fitting = (shape[0], *USUAL) if name == "dasheng" else shape
            make = functools.partial(in_torch, precision, fitting, size, device)
            found.append(Contender(f"{name} {TORCH}", precision, make, shape[0]))
    return found


def prepare(
    name: str, precision: str, shape: tuple[int, int, int], size: Size
) -> Program:
    """Returns the program that runs an encoder on random spectrograms.

    Args:
        name: Name of the encoder.
        precision: "float32" or "bfloat16".
        shape: The number of clips, frames and mel bands.
        size: The width, depth and number of heads of the network.
    """
    # Imported here, so that the controlling process does not load JAX.
    import jax
    import numpy as np

    from unmute_jax.encoders import load_encoder
    from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder
    from unmute_jax.ops.flops import count_multiply_adds

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
    drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
    spectrogram = jax.device_put(drawn)
    multiply_adds = count_multiply_adds(lambda x: encoder.encode(x).patches, drawn)
    return Program(
        lambda: jax.block_until_ready(encoder.encode(spectrogram).patches),
        {
            "operations_per_clip": 2 * multiply_adds / shape[0],
            "device": jax.devices()[0].device_kind,
        },
    )


def report(timings: Sequence[Timing], *, with_header: bool) -> str:
    """The rows of an encoder as Markdown, after the header if they are the first."""
    by_name = {(t.name, t.group): t for t in timings}
    rows = [
        [t.name, t.group, *cells(t, by_name.get((f"{t.name} {TORCH}", t.group)))]
        for t in timings
        if not t.name.endswith(TORCH)
    ]
    lines = side_by_side.table(HEADER, rows).splitlines()
    if not with_header:
        return "\n".join(lines[2:])
    cores, clips = side_by_side.cores(), BATCH.value
    place = f"{timings[0].facts['device']}, {cores} cores, {clips} clips per call"
    return "\n".join([place, "", *lines])


def cells(ours: Timing, theirs: Timing | None) -> list[str]:
    """The numbers of a row."""
    speed, device = ours.clips_per_second, ours.facts["device"]
    operations = speed * ours.facts["operations_per_clip"]
    return [
        f"{speed:.3g}",
        f"{theirs.clips_per_second:.3g}" if theirs else "",
        f"{ours.times_as_fast_as(theirs):.2f}" if theirs else "",
        f"{operations / 1e9:.0f}",
        peaks.share_of_peak(operations, device, ours.group),
        mebibytes(ours.peak_bytes),
        mebibytes(theirs.peak_bytes) if theirs else "",
    ]


Measure = Callable[[list[Contender], str], list[Timing]]


@contextlib.contextmanager
def _in_own_processes() -> Generator[Measure]:
    yield lambda found, name: side_by_side.measure(found, REPEATS.value, name)


@contextlib.contextmanager
def _in_shared_processes() -> Generator[Measure]:
    """Keeps one process for our networks, and one for those in PyTorch."""
    workers: dict[bool, side_by_side.Worker] = {}

    def timed(found: list[Contender], name: str) -> list[Timing]:
        for contender in found:
            is_torch = contender.name.endswith(TORCH)
            if is_torch not in workers:
                platform = "cpu" if is_torch else PLATFORM.value
                workers[is_torch] = side_by_side.Worker(platform)
        chosen = [workers[contender.name.endswith(TORCH)] for contender in found]
        try:
            return side_by_side.take_turns(found, chosen, REPEATS.value, name)
        except RuntimeError:
            # What is left of this encoder must not take the memory of the next.
            _close(workers)
            raise

    try:
        yield timed
    finally:
        _close(workers)


def _close(workers: dict[bool, side_by_side.Worker]) -> None:
    while workers:
        workers.popitem()[1].close()


if __name__ == "__main__":
    app.run(main)
