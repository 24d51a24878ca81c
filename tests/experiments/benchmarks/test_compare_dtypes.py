"""The comparison of token types: its numbers, and the program as a whole."""

import numpy as np
import pytest

from experiments.benchmarks import compare_dtypes
from tests.cli.commands import run_module
from unmute_jax import results


def test_the_interval_is_that_of_students_t():
    # The quantile for four degrees of freedom is 2.776 in every table.
    low, high = compare_dtypes.interval(np.asarray([0.1, -0.1, 0.3, 0.0, 0.2]))
    half = 2.776 * np.std([0.1, -0.1, 0.3, 0.0, 0.2], ddof=1) / np.sqrt(5)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-4)


def record(seed, test):
    words = ("experiment", "dataset", "source", "encoder", "protocol")
    mappings = ("probe_options", "per_class", "settings", "facts")
    numbers = dict.fromkeys(("parameters", "epoch", "masked_classes"), 0)
    return results.Record(
        **dict.fromkeys(words, ""),
        **{key: {} for key in mappings},
        **numbers,
        probe="linear",
        metric="mAP",
        seed=seed,
        test=test,
        validation=0.5,
        learning_rate=0.1,
        weight_decay=0.0,
        seconds=0.0,
        search=(),
    )


def test_seeds_are_compared_with_themselves():
    before = [record(0, 0.5), record(1, 0.6)]
    after = [record(1, 0.61), record(0, 0.5)]
    row = compare_dtypes.row("linear", before, after, "int8")
    assert row[2:6] == ["55.50", "55.00", "+0.00 +1.00", "+0.50"]
    assert compare_dtypes.row("linear", before[:1], after[1:], "int8")[-1] == "none"


def test_every_dtype_is_run(tmp_path):
    done = run_module(
        "experiments.benchmarks.compare_dtypes",
        "--config=configs/quickstart.py", "--config.probes=linear",
        "--config.seeds=2", "--config.epochs=1", "--config.batch_size=16",
        "--config.optimizer.learning_rates=0.1,0.3",
        "--config.dataset_options.train_clips=16",
        "--config.dataset_options.validation_clips=8",
        "--config.dataset_options.test_clips=8",
        f"--workdir={tmp_path / 'run'}", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| linear | int8 |" in done.stdout
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"bfloat16", "int8"}
