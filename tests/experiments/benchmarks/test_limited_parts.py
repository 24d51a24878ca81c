"""Commands with a limit of time keep what they have found."""

import json
import signal
import time

import pytest

from experiments.benchmarks.limited_parts import DONE, FAILED, LATE, Part, run_part


@pytest.fixture(autouse=True)
def _interruptible():
    # A shell that starts the tests in the background lets them ignore the signal, and
    # with them every process that they start. Commands have a handler of their own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def part(folder, code, *, seconds=60.0, **environment):
    return Part(
        "part",
        seconds,
        ("-c", code),
        folder / "found.json",
        lambda path: json.loads(path.read_text()),
        environment,
    )


WRITE = """
import os, pathlib
pathlib.Path(os.environ["FOUND"]).write_text('{"speed": 3}')
print("| a table |")
"""
# On the request to stop, it writes what it has. The process that it started goes on.
SLOW = """
import os, pathlib, subprocess, sys, time
beat = "while True: open(sys.argv[1], 'a').write('.'); time.sleep(.1)"
beat = [sys.executable, "-c", "import sys, time\\n" + beat]
subprocess.Popen([*beat, os.environ["FOUND"] + ".beat"])
try:
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path(os.environ["FOUND"]).write_text('{"speed": 2}')
    time.sleep(60)
"""


def test_a_command_leaves_its_results_and_its_log(tmp_path, capfd):
    outcome = run_part(
        part(tmp_path, WRITE, FOUND=str(tmp_path / "found.json")), tmp_path
    )
    assert (outcome["outcome"], outcome["exit"]) == (DONE, 0)
    assert outcome["found"] == {"speed": 3}
    assert (tmp_path / "part.log").read_text() == "| a table |\n"
    assert capfd.readouterr().out == "| a table |\n"


def test_a_command_that_fails_has_no_results_of_an_earlier_one(tmp_path):
    (tmp_path / "found.json").write_text('{"speed": 1}')
    outcome = run_part(part(tmp_path, "raise SystemExit(3)"), tmp_path)
    assert (outcome["outcome"], outcome["exit"]) == (FAILED, 3)
    assert set(outcome["found"]) == {"error"}


def test_a_command_whose_results_cannot_be_read_has_failed(tmp_path):
    code = WRITE.replace('{"speed": 3}', '{"speed"')
    outcome = run_part(
        part(tmp_path, code, FOUND=str(tmp_path / "found.json")), tmp_path
    )
    assert (outcome["outcome"], outcome["exit"]) == (FAILED, 0)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_slow_command_is_stopped_with_all_that_it_started(tmp_path, stubborn):
    code = SLOW
    if stubborn:
        code = "import signal; signal.signal(2, signal.SIG_IGN)\n" + code
    path, start = tmp_path / "found.json", time.monotonic()
    slow = part(tmp_path, code, seconds=8.0, FOUND=str(path))
    outcome = run_part(slow, tmp_path, patience=0.5, grace=1.0)
    assert time.monotonic() - start < 40
    assert outcome["outcome"] == LATE
    if not stubborn:
        assert outcome["found"] == {"speed": 2}
    beats = tmp_path / "found.json.beat"
    before = beats.stat().st_size
    time.sleep(0.5)
    assert beats.stat().st_size == before
