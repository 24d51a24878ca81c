"""Measures what products in bfloat16, and tokens stored in fewer bits, cost.

python -m experiments.benchmarks.precision
python -m experiments.benchmarks.precision --encoders whisper \
    --weights whisper-base-encoder.safetensors --run runs/whisper_escmix --clips 400

Each encoder computes the tokens of test mixtures of `esc_mix` with products in float32
and in bfloat16, and the former are rounded as stores in bfloat16 and int8 round them.
The table shows the root mean square of the difference and the largest difference, both
relative to the root mean square of the tokens, the smallest cosine between a token and
its rounded version, and the share of the variance between clips that is lost
(`unmute_jax.store.rounding`).

With `--run`, the folder of a finished run on `esc_mix`, a second table shows the scores
of its trained probes on the same tokens, the mean over seeds.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags
from jaxtyping import Bool, Float

from experiments.benchmarks import side_by_side
from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.datasets import load_dataset
from unmute_jax.encoders import Encoder, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.metrics.ranking import mean_average_precision
from unmute_jax.results.trained import TrainedProbe, load_trained
from unmute_jax.store.batches import multi_hot_labels
from unmute_jax.store.rounding import lost_variance
from unmute_jax.tokens import Tokens

ENCODERS = flags.DEFINE_list(
    "encoders",
    ["audiomae", "asit", "eat", "sslam", "beats", "dasheng"],
    "The encoders, separated by commas.",
)
WEIGHTS = flags.DEFINE_string(
    "weights", "untrained", 'A file of weights, or "untrained".'
)
CLIPS = flags.DEFINE_integer(
    "clips", 4, "The number of mixtures of 10 s to compare.", lower_bound=2
)
RUN = flags.DEFINE_string(
    "run", None, "The folder of a run whose trained probes are tested on the tokens."
)

# How products are computed, and how tokens are stored. The first one is exact.
MODES = (
    ("float32", "float32"),
    ("float32", "bfloat16"),
    ("float32", "int8"),
    ("bfloat16", "bfloat16"),
)
HEADER = ["products", "stored in"]


def main(rest: list[str]) -> None:
    """Prints one table, or two with `--run`, per encoder."""
    program.only_options(rest)
    dataset = load_dataset("esc_mix")
    source = dataset.source_of("test")
    clips = [source[i] for i in range(min(CLIPS.value, len(source)))]
    waveform = np.stack([clip.waveform for clip in clips])
    labels = multi_hot_labels(clips, dataset).astype(bool)
    for name in ENCODERS.value:
        computed = {
            precision: encode(name, precision, waveform) for precision in dict(MODES)
        }
        print(f"\n{name}, {len(clips)} clips\n", flush=True)
        print(
            side_by_side.table(
                [*HEADER, "rms error", "largest error", "smallest cosine", "lost"],
                (
                    [*mode, *errors(computed["float32"], stored(computed, mode))]
                    for mode in MODES[1:]
                ),
            ),
            flush=True,
        )
        if RUN.value:
            found = probes_of(RUN.value)
            rows = [[*mode, *scores(found, computed, mode, labels)] for mode in MODES]
            print()
            print(side_by_side.table([*HEADER, *found], rows), flush=True)


def encode(name: str, precision: str, waveform: np.ndarray) -> Tokens:
    """The tokens of all clips on the host."""
    untrained = WEIGHTS.value == "untrained"
    encoder: Encoder = load_encoder(
        name,
        None if untrained else WEIGHTS.value,
        weights="untrained" if untrained else None,
        precision=precision,
    )
    found = []
    label = f"{name} in {precision}"
    with progress(label, len(waveform), unit="clips") as advance:
        for clip in waveform:
            found.append(jax.device_get(encoder(clip[None])))
            advance(1)
    return jax.tree.map(lambda *x: np.concatenate(x), *found)


def stored(computed: dict[str, Tokens], mode: tuple[str, str]) -> Tokens:
    """The tokens of a mode as a store returns them."""
    products, dtype = mode
    return computed[products].rounded(dtype)


def errors(exact: Tokens, rounded: Tokens) -> Iterator[str]:
    """The cells of a row of the first table."""
    x, y = (np.asarray(t.patches, np.float32) for t in (exact, rounded))
    yield from differences(x, y)
    yield f"{100 * lost_variance(x, y, np.asarray(exact.mask)[:, :, None]):.1g} %"


def differences(
    exact: Float[np.ndarray, "*B D"], rounded: Float[np.ndarray, "*B D"]
) -> Iterator[str]:
    """Root mean square, largest difference, and smallest cosine of two tokens."""
    x, y = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (exact, rounded))
    scale = np.sqrt(np.square(x).mean())
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    yield f"{np.sqrt(np.square(y - x).mean()) / scale:.1e}"
    yield f"{np.abs(y - x).max() / scale:.1e}"
    yield f"{((x * y).sum(1) / norms).min():.5f}"


def probes_of(folder: str) -> dict[str, list[TrainedProbe]]:
    """The trained probes of a run by name, one for each seed.

    Raises:
        InputError: The folder holds none, or they were not trained on `esc_mix`.
    """
    files = sorted((pathlib.Path(folder) / "probes").glob("*.safetensors"))
    found: dict[str, list[TrainedProbe]] = {}
    for file in files:
        trained = load_trained(file)
        if trained.dataset != "esc_mix":
            raise InputError(f"{file} was trained on {trained.dataset}, not on esc_mix")
        found.setdefault(trained.name, []).append(trained)
    if not found:
        raise InputError(
            f"{folder} holds no trained probes: --run names a finished run"
        )
    return found


def scores(
    found: dict[str, list[TrainedProbe]],
    computed: dict[str, Tokens],
    mode: tuple[str, str],
    labels: Bool[np.ndarray, "n C"],
) -> Iterator[str]:
    """The cells of a row of the second table, mAP in points of 100."""
    products, dtype = mode
    for trained in found.values():
        # A probe rounds what it reads as the store of its training did.
        as_stored = [dataclasses.replace(t, dtype=dtype) for t in trained]
        values = [
            mean_average_precision(
                np.asarray(t.logits(computed[products])), labels
            ).mean
            for t in as_stored
        ]
        yield f"{100 * np.mean(values):.2f}"


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
