"""Training as a person meets it: a command in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.cli.commands import TINY, environment, start, start_forked
from tests.held import held_elsewhere
from unmute_jax.results.record import Record


@pytest.fixture(scope="module")
def listing(tiny_run):
    """The records of the tiny run."""
    folder, _ = tiny_run
    files = sorted((folder / "results").glob("*.json"))
    return [json.loads(path.read_text()) for path in files]


def test_a_run_ends_in_a_table_and_leaves_everything_in_its_folder(tiny_run, listing):
    folder, done = tiny_run
    for word in ("linear", "protobin", "stats", "test mAP", "±", "ESC-10 sample"):
        assert word in done.stdout
    assert {p.name for p in folder.iterdir()} - {".lock"} == {
        "checkpoints", "config.json", "metrics.jsonl", "plots", "predictions", "probes",
        "results", "sources.json",
    }  # fmt: skip
    assert {p.name for p in (folder / "plots").iterdir()} == {
        "per_class_ap.png", "training_curves.png"
    }  # fmt: skip
    assert len(listing) == 3 * 2
    assert listing[0]["facts"]["clips"] == {"train": 24, "validation": 12, "test": 12}
    assert {"test", "validation", "seed", "probe"} <= set(listing[0])
    assert set(listing[0]) <= {"format", "digest", *Record.__dataclass_fields__}
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2


def test_the_same_command_again_gives_the_same_table(tiny_run, shared_cache):
    folder, done = tiny_run
    again = start(*TINY, f"--workdir={folder}", cache=shared_cache)
    assert again.returncode == 0
    table = done.stdout[done.stdout.index("┏") :]
    assert table in again.stdout


def test_plots_are_drawn_again_where_they_are_old_or_missing(
    tiny_run, shared_cache, tmp_path
):
    folder = shutil.copytree(tiny_run[0], tmp_path / "run")
    curves, bars = sorted((folder / "plots").iterdir())[::-1]

    def redrawn():
        for path in {curves, bars} & set((folder / "plots").iterdir()):
            os.utime(path, times)
        start(*TINY, f"--workdir={folder}", cache=shared_cache)
        return [path.stat().st_mtime != times[1] for path in (curves, bars)]

    times = (2e9, 2e9)  # After the records.
    assert redrawn() == [False, False]
    curves.unlink()
    assert redrawn() == [True, True]
    times = (1e9, 1e9)  # Before them.
    assert redrawn() == [True, True]


def test_it_runs_from_any_folder(tiny_run, shared_cache, tmp_path):
    done = start(*TINY, "--dry_run", cache=shared_cache, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("will be reused") == 3
    assert not any(tmp_path.iterdir())


def test_why_cached_tokens_were_not_used_is_printed(tiny_run, shared_cache, tmp_path):
    changed = (*TINY, "--config.tokens.dtype=float32", "--explain")
    done = start(*changed, "--config.probes=linear", "--config.seeds=1",
                 f"--workdir={tmp_path}", cache=shared_cache)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'dtype: "bfloat16" -> "float32"' in done.stdout


MISTAKES = {
    (): "quickstart",
    ("--config=configs/quickstat.py",): "did you mean",
    ("--config", "quickstat"): "did you mean 'quickstart'",
    (*TINY, "--config.epoch=3"): "did you mean 'config.epochs'",
    (*TINY, "--config.epochs=x"): "--config.epochs=x: must be a whole number",
    (*TINY, "--config.optimizer.learning_rates=a"): "numbers separated by",
    (*TINY, "--config.encoder=logmell"): "did you mean 'logmel'",
    (*TINY, "--config.dataset=esc11"): "did you mean 'esc10'",
    (*TINY, "--config.probes=protobim"): "did you mean 'protobin'",
    (*TINY, "--dryrun"): "did you mean '--dry_run'",
    (*TINY, "--epochs=3"): "option '--epochs=3': did you mean '--config.epochs=3'",
    (*TINY, "more"): "unexpected argument 'more'",
}


@pytest.fixture(scope="module")
def mistaken(shared_cache):
    orders = [["train", *arguments] for arguments in MISTAKES]
    ended = start_forked(orders, cache=shared_cache)
    return dict(zip(MISTAKES, ended, strict=True))


@pytest.mark.parametrize("arguments", MISTAKES, ids=lambda a: a[-1] if a else "none")
def test_a_mistake_is_one_line_with_the_nearest_right_name(arguments, mistaken):
    done = mistaken[arguments]
    assert done.returncode == 2
    assert MISTAKES[arguments] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_a_folder_of_another_run_is_left_alone(tiny_run, shared_cache):
    folder, _ = tiny_run
    before = (folder / "config.json").read_text()
    done = start(*TINY, "--config.seeds=3", f"--workdir={folder}", cache=shared_cache)
    assert done.returncode == 2
    assert "config.seeds: there 2, here 3" in done.stderr
    assert (folder / "config.json").read_text() == before


def test_a_folder_in_which_another_process_trains_is_refused_and_can_be_read(
    tiny_run, shared_cache, tmp_path
):
    folder = shutil.copytree(tiny_run[0], tmp_path / "run")
    with held_elsewhere(folder / ".lock") as other:
        done = start(*TINY, f"--workdir={folder}", cache=shared_cache)
        assert done.returncode == 2
        assert re.fullmatch(
            rf"error: another process is training in {folder} \(since \d\d:\d\d, "
            rf"process {other.pid} on \S+\): wait until it ends, or stop it\n",
            done.stderr,
        )
        report = (str(folder), f"--output={tmp_path / 'report'}")
        shown = start(*report, program="report", cache=shared_cache)
        assert shown.returncode == 0, shown.stderr


def test_without_data_and_weights_the_paper_setting_says_what_to_fetch(tmp_path):
    done = start("--config=bpp_esc50", cache=tmp_path)
    assert done.returncode == 2
    for word in ("EAT-base_epoch30", "ESC-50", "quickstart", str(tmp_path)):
        assert word in done.stderr


def test_no_tensorflow_and_no_torch_are_imported(tiny_run, shared_cache):
    code = (
        "import sys, unmute_jax, unmute_jax.training.run\n"
        "unmute_jax.load_dataset('esc10')\n"
        "bad = {'tensorflow', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(shared_cache),
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
    )
    assert done.returncode == 0, done.stderr
