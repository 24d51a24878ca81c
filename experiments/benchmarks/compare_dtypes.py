"""Measures what it costs to store tokens in fewer bits, seed by seed.

python -m experiments.benchmarks.compare_dtypes --config configs/quickstart.py \
    --workdir DIR
python -m experiments.benchmarks.compare_dtypes --config ... --dtypes float32,int8

The experiment runs once for each dtype, with everything else the same, and the test
scores are compared with those of the first dtype, seed by seed. The interval contains
the mean difference with 95 % confidence (Student's t). int8 is meant to stay within 0.5
mAP on either side of zero. `--config.seeds=20` narrows the interval. Finished runs are
read, and runs that were stopped continue.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.stats
from absl import flags
from jaxtyping import Float

from experiments.benchmarks import side_by_side
from unmute_jax import results
from unmute_jax.cli import program
from unmute_jax.config import Experiment, default_config
from unmute_jax.errors import InputError
from unmute_jax.training.run import run_experiment
from unmute_jax.training.setup import prepare
from unmute_jax.training.workdir import Workdir

DTYPES = flags.DEFINE_list(
    "dtypes",
    ["bfloat16", "int8"],
    "The types of the stored tokens. The first one is the reference.",
)


def main(settings: Experiment) -> None:
    """Runs the experiment with every dtype and prints the comparison."""
    first, *others = wanted = dict.fromkeys(DTYPES.value)
    if not others:
        raise InputError(f"--dtypes={first}: name two or more, separated by commas")
    if settings.seeds < 2:
        raise InputError("config.seeds=1: an interval needs two seeds or more")
    folder = pathlib.Path(
        program.WORKDIR.value or settings.default_workdir() + "-dtypes"
    )
    records = {dtype: run(settings, dtype, folder) for dtype in wanted}
    rows = [
        row(name, records[first], records[dtype], dtype)
        for dtype in others
        for name in settings.probe_names
    ]
    unit = records[first][0].metric
    print(f"\n{results.title(records[first])}\n")
    print(
        side_by_side.table(
            [
                "probe",
                "tokens",
                f"test {unit}",
                f"with {first}",
                "difference, seed by seed",
                "mean",
                "95 % interval",
            ],
            rows,
        )
    )
    print(f"\nall files are in {folder}/")


def run(settings: Experiment, dtype: str, folder: pathlib.Path) -> list[results.Record]:
    """The records of the experiment on tokens of this dtype."""
    tokens = dataclasses.replace(settings.tokens, dtype=dtype)
    settings = dataclasses.replace(settings, tokens=tokens)
    return run_experiment(prepare(settings), Workdir(folder / dtype, settings))


def row(
    name: str,
    reference: Sequence[results.Record],
    records: Sequence[results.Record],
    dtype: str,
) -> list[str]:
    """The row of a probe, in points of 100."""
    before, after = (scores(name, found) for found in (reference, records))
    differences = after - before
    low, high = interval(differences)
    # A probe that is fitted in closed form has no seeds.
    held = f"{low:+.2f} to {high:+.2f}" if len(differences) > 1 else "none"
    return [
        name,
        dtype,
        f"{after.mean():.2f}",
        f"{before.mean():.2f}",
        " ".join(f"{d:+.2f}" for d in differences),
        f"{differences.mean():+.2f}",
        held,
    ]


def scores(name: str, records: Sequence[results.Record]) -> Float[np.ndarray, "seeds"]:
    """The test score of a probe for each seed, in points of 100."""
    found = results.scores_by_seed([r for r in records if r.probe == name])
    return 100 * np.asarray(list(found.values()))


def interval(differences: Float[np.ndarray, "seeds"]) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of normally distributed differences."""
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    half = scipy.stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


if __name__ == "__main__":
    with program.command(__doc__, default_config()) as arguments:
        program.only_options(arguments)
        main(program.experiment())
