"""The trial of an accelerator, with tiny sizes on the CPU."""

import json

import pytest

from experiments.benchmarks import peaks
from tests.cli.commands import run_module


def run(folder, *options):
    return run_module(
        "experiments.benchmarks.accelerator",
        f"--workdir={folder}",
        "--small",
        "--patience=20",
        *options,
    )


def test_parts_that_failed_are_tried_again_and_lose_nothing_of_others(tmp_path):
    # The first part cannot write its results.
    (tmp_path / "tests.xml").mkdir()
    chosen = ("--platform=cpu", "--parts=tests,probes")
    done = run(tmp_path, *chosen)
    assert done.returncode == 1
    state = json.loads((tmp_path / "accelerator.json").read_text())
    outcomes = {name: part["outcome"] for name, part in state["parts"].items()}
    assert outcomes == {"device": "done", "tests": "failed", "probes": "done"}
    assert state["parts"]["probes"]["found"]["protobin"][0]["prototypes"] == 6

    (tmp_path / "tests.xml").rmdir()
    again = run(tmp_path, *chosen)
    assert again.returncode == 0, again.stderr
    assert "[2/2] tests" in again.stdout
    table = (tmp_path / "accelerator.md").read_text()
    assert "| tests | done | 7 passed, 0 skipped, 0 failed |" in table
    assert "\n\n| probe | float32 ms |" in table
    assert "\n| mhca | " in table

    other = run(tmp_path, "--platform=cuda")
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1].endswith("give another --workdir")


def test_a_missing_accelerator_is_one_line_and_nothing_else_is_run(tmp_path):
    done = run(tmp_path, "--platform=cuda")
    assert done.returncode == 1
    assert "error: JAX_PLATFORMS=cuda, but JAX finds no such device" in done.stdout
    assert "[1/6] device" in done.stdout
    assert "[2/6]" not in done.stdout


@pytest.mark.parametrize(
    ("kind", "precision", "shown"),
    [
        ("NVIDIA H200", "float32", "50 %"),
        ("NVIDIA H200", "bfloat16", "3 %"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "float32", "unknown"),
        ("Tesla T4", "bfloat16", "unknown"),
        ("cpu", "float32", "unknown"),
    ],
)
def test_speeds_are_compared_with_the_peak_of_the_device(kind, precision, shown):
    assert peaks.share_of_peak(33.5e12, kind, precision) == shown
