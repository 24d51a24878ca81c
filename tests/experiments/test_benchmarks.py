"""Every benchmark runs to its end in its small mode and prints its tables."""

import json

from tests.cli.commands import run_module


def run(program, *arguments):
    done = run_module(f"experiments.benchmarks.{program}", "--small", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_encoders_are_timed_in_both_precisions(tmp_path):
    path = tmp_path / "out.json"
    printed = run("encoders", "--encoders=eat", "--repeats=2", f"--output={path}")
    assert "| eat | bfloat16 |" in printed
    timings = json.loads(path.read_text())["timings"]
    mine = [t for t in timings if t["name"] == "eat"]
    assert [len(t["seconds"]) for t in mine] == [2, 2]


def test_front_ends_are_compared_and_timed():
    # All front ends are compared; in the small mode one is timed.
    printed = run("frontends", "--repeats=1")
    for name in ("unmute_jax", "NumPy, clip by clip", "NumPy in float32"):
        assert f"| {name} | Kaldi, Hann window |" in printed


def test_every_part_of_the_way_to_tokens_is_timed():
    printed = run("pipeline", "--clips=4", "--encoders=logmel,eat")
    for row in ("reading |  |", "pipeline | logmel |", "whole pass | eat |"):
        assert f"| {row}" in printed


def test_a_store_is_written_read_in_many_ways_and_trained_from(tmp_path):
    path = tmp_path / "out.json"
    printed = run(
        "store",
        "--gigabytes=0.001",
        f"--folder={tmp_path}",
        f"--output={path}",
    )
    for row in ("written |  |", "store, shuffled batches | cold |", "| warm |"):
        assert row in printed
    measured = json.loads(path.read_text())
    assert measured[-1]["what"] == "epoch of protobin"
    assert 0 < measured[-1]["waiting"] < measured[-1]["seconds"]
    assert not (tmp_path / "synthetic").exists()


def test_probes_are_timed_alone_and_stacked(tmp_path):
    path = tmp_path / "out.json"
    printed = run("probes", "--probes=mhca", f"--output={path}")
    assert "| mhca |" in printed
    measured = json.loads(path.read_text())
    assert [row["prototypes"] for row in measured["protobin"]] == [6]
    assert [row["probe"] for row in measured["trials"]] == [
        "linear",
        "protobin",
        "mhca",
    ]


def test_a_search_is_timed_at_two_lengths_and_continued(tmp_path):
    path = tmp_path / "out.json"
    printed = run(
        "sweep",
        "--probes=linear",
        "--trials=4",
        "--epochs=9",
        f"--workdir={tmp_path / 'work'}",
        f"--output={path}",
    )
    assert "| 4 trials of 9 epochs |" in printed
    (row,) = json.loads(path.read_text())["rows"]
    line = row["lines"]["ours"]
    assert row["ours"] == line["fixed"] + 9 * line["per_epoch"]


def test_work_is_shared_out_over_devices_and_processes(tmp_path):
    path = tmp_path / "out.json"
    printed = run(
        "scaling",
        "--probes=linear",
        "--layouts=1x2",
        "--repeats=1",
        f"--output={path}",
    )
    assert "| linear | trials | 1x2 | 4 x 32 |" in printed
    assert "| linear | batch | 1x2 | 8 x 16 |" in printed
    rows = json.loads(path.read_text())["rows"]
    modes = [(row["mode"], row["processes"]) for row in rows]
    assert modes == [("trials", 2), ("batch", 2)]
    for row in rows:
        # Of eight trials; beside them only losses and the number of clips.
        gradients = 4 * 8 * row["parameters"]
        low, high = {"trials": (0, 0), "batch": (1.0, 1.01)}[row["mode"]]
        assert low * gradients <= row["moved_bytes"] <= high * gradients


def test_decoding_is_timed_beside_soundfile():
    printed = run("decode")
    for row in ("FLAC, mono", "FLAC, stereo", "MP3, mono", "MP3, stereo"):
        assert f"| {row} |" in printed
