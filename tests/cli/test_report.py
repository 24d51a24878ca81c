"""The program as a person meets it: in a process of its own."""

import os
import subprocess
import sys

from tests.report.made_up import record, write


def start(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.report", *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_program_says_what_it_found(tmp_path):
    write(tmp_path / "run", [record(probe="linear"), record(probe="mhca")])
    done = start(tmp_path / "run", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "2 records, 2 cells, 1 data set, 1 encoder, 2 probes, 1 seed",
        f"open {tmp_path / 'out'}/report.html",
    ]
    assert (tmp_path / "out" / "report.html").exists()


def test_what_is_missing_is_told_in_a_line(tmp_path):
    done = start(tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no records (results/*.json) below")
    assert not (tmp_path / "out").exists()
