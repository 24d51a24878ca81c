"""What it costs to keep tokens in fewer bits: the same trainings, seed by seed.

python -m experiments.benchmarks.compare_dtypes --config configs/quickstart.py \
    --workdir DIR
python -m experiments.benchmarks.compare_dtypes --config ... --dtypes float32,int8

The experiment is run once for each dtype, with everything else the same, and the test
scores are compared with those of the first dtype, every seed with itself. The interval
holds the mean difference with 95 % confidence (Student's t); `0.5` or less on either
side of zero is what int8 promises for mAP. `--config.seeds=20` narrows it. Runs that
are finished are read, and those that were stopped go on.
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
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.training.run import run_experiment
from unmute_jax.training.setup import prepare
from unmute_jax.training.workdir import Workdir

DTYPES = flags.DEFINE_list(
    "dtypes", ["bfloat16", "int8"], "Of the tokens; the first is compared with."
)


def main(settings: Experiment) -> None:
    """Runs, compares, prints the table."""
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
    print(f"\neverything is in {folder}/")


def run(settings: Experiment, dtype: str, folder: pathlib.Path) -> list[results.Record]:
    """All records of the experiment on tokens of this dtype."""
    tokens = dataclasses.replace(settings.tokens, dtype=dtype)
    settings = dataclasses.replace(settings, tokens=tokens)
    return run_experiment(prepare(settings), Workdir(folder / dtype, settings))


def row(
    name: str,
    reference: Sequence[results.Record],
    records: Sequence[results.Record],
    dtype: str,
) -> list[str]:
    """A probe's line of the table, in points of 100."""
    before, after = (scores(name, found) for found in (reference, records))
    differences = after - before
    low, high = interval(differences)
    # A probe that is fitted has no seeds.
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
    """The test scores of a probe, seed by seed, in points of 100."""
    found = results.scores_by_seed([r for r in records if r.probe == name])
    return 100 * np.asarray(list(found.values()))


def interval(differences: Float[np.ndarray, "seeds"]) -> tuple[float, float]:
    """Where their mean lies with 95 % confidence; they are taken for normal."""
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    half = scipy.stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


if __name__ == "__main__":
    program.launch(main, __doc__)
