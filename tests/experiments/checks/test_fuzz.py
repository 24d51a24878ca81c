"""Damaged files never end in anything but samples or one clear line."""

import os
import time

import numpy as np
import pytest

from experiments.checks import fuzz, fuzz_audio
from experiments.checks.fuzz import Trial, Worker, table


@pytest.mark.parametrize("index", range(150))
def test_damaged_audio_files_are_read_or_refused(index, tmp_path):
    kind, _, data = fuzz_audio.make(np.random.default_rng([7, index]))
    (tmp_path / "file").write_bytes(data)
    fuzz_audio.check(tmp_path / "file", kind)


def behave(path, kind):
    """Stands for a decoder, in the process of the worker."""
    match kind:
        case "ends the process":
            os._exit(7)
        case "takes long":
            time.sleep(60)
        case "takes memory":
            return bytes(500_000_000)[:0].decode()
        case "raises":
            raise ValueError("a fault")
        case "prints":
            os.write(2, b"a message")
    return path.read_text()


def test_every_failure_is_noticed_and_the_next_file_is_tried(tmp_path):
    path = tmp_path / "file"
    path.write_text("fine")
    worker = Worker(behave, seconds=0.5, megabytes=300)
    try:
        outcomes = {
            kind: worker.run(path, kind)
            for kind in (
                "raises",
                "prints",
                "takes memory",
                "ends the process",
                "fine",
                "takes long",
            )
        }
    finally:
        worker.stop()
    assert outcomes.pop("fine")[0] == "fine"
    assert {outcome for outcome, _, _ in outcomes.values()} == {"failed"}
    reasons = [reason for _, _, reason in outcomes.values()]
    assert reasons == [
        "ValueError: a fault",
        "prints b'a message'",
        "MemoryError: ",
        "ends the process with code 7",
        "takes longer than 0.5 s",
    ]


def test_files_that_failed_are_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(
        fuzz.KINDS,
        "audio",
        fuzz.Kind(make=lambda rng: ("raises", "cut", b"content"), check=behave),
    )
    (trial,) = fuzz.try_files(
        "audio", count=1, seed=3, seconds=5, megabytes=300, output=tmp_path / "out"
    )
    assert trial.outcome == "failed"
    assert (tmp_path / "out" / "3_0").read_bytes() == b"content"
    assert "a fault" in (tmp_path / "out" / "3_0.json").read_text()


def test_the_table_counts_outcomes_by_mutation():
    trials = [
        Trial(index=0, kind="a", mutation="cut", outcome="refused", seconds=1.0),
        Trial(index=1, kind="a", mutation="cut", outcome="failed", seconds=1.0),
        Trial(index=2, kind="a", mutation="erased", outcome="refused", seconds=1.0),
    ]
    assert table(trials).splitlines()[2:] == [
        "| cut | 2 | 1 | 1 |",
        "| erased | 1 | 1 | 0 |",
        "| all | 3 | 2 | 1 |",
    ]
