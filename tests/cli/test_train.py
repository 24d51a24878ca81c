"""The program as a person meets it: in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from unmute_jax import results
from unmute_jax.inference import one_bit

TINY = (
    "--config=configs/quickstart.py",
    "--config.dataset_options.train_clips=24",
    "--config.dataset_options.validation_clips=12",
    "--config.dataset_options.test_clips=12",
    "--config.batch_size=16",
    "--config.epochs=2",
    "--config.seeds=2",
    "--config.optimizer.learning_rates=0.01,0.1",
    "--config.probe_options.prototypes_per_class=2",
)


def start(*arguments, cache, program="train"):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{program}", *arguments],
        env={**os.environ, "UNMUTE_CACHE": str(cache), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    done = start(*TINY, f"--workdir={folder}", cache=cache)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_ends_in_a_table_and_leaves_everything_in_its_folder(first):
    folder, done = first
    for word in ("linear", "protobin", "stats", "test mAP", "±", "ESC-10 sample"):
        assert word in done.stdout
    assert {p.name for p in folder.iterdir()} == {
        "checkpoints", "config.json", "metrics.jsonl", "plots", "predictions", "probes",
        "results", "sources.json",
    }  # fmt: skip
    assert {p.name for p in (folder / "plots").iterdir()} == {
        "per_class_ap.png", "training_curves.png"
    }  # fmt: skip
    records = results.read_records(folder / "results")
    assert len(records) == 3 * 2
    assert records[0].facts["clips"] == {"train": 24, "validation": 12, "test": 12}
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2


def test_the_same_command_again_gives_the_same_table_at_once(first, cache):
    folder, done = first
    again = start(*TINY, f"--workdir={folder}", cache=cache)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-12:] == done.stdout.splitlines()[-12:]


def test_another_run_reads_the_tokens_and_says_what_they_would_cost(first, cache):
    dry = start(*TINY, "--workdir=nowhere", "--dry_run", cache=cache)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("will be reused") == 3
    assert not os.path.exists("nowhere")


def test_why_tokens_were_not_used_is_told(first, cache, tmp_path):
    changed = (*TINY, "--config.tokens.dtype=float32", "--explain")
    done = start(*changed, "--config.probes=linear", f"--workdir={tmp_path}",
                 cache=cache)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'dtype: "bfloat16" -> "float32"' in done.stdout


def test_help_lists_every_option_with_its_default(cache):
    done = start("--help", cache=cache)
    assert done.returncode == 0
    for line in ("--config.epochs=30", "--config.optimizer.b2=0.999", "--workdir",
                 "--dry_run", "--config.frontend.recipe=None"):  # fmt: skip
        assert line in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "configs/quickstart.py"),
        (("--config=configs/quickstat.py",), "did you mean 'configs/quickstart.py'"),
        ((*TINY, "--config.epoch=3"), "did you mean 'config.epochs'"),
        ((*TINY, "--config.epochs=x"), "--config.epochs=x: must be of type int"),
        ((*TINY, "--config.optimizer.learning_rates=a"), "numbers separated by"),
        ((*TINY, "--config.encoder=logmell"), "did you mean 'logmel'"),
        ((*TINY, "--config.dataset=esc11"), "did you mean 'esc10'"),
        ((*TINY, "--config.probes=protobim"), "did you mean 'protobin'"),
        ((*TINY, "--dryrun"), "did you mean '--dry_run'"),
        ((*TINY, "more"), "unexpected argument 'more'"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_right_name(arguments, message, cache):
    done = start(*arguments, cache=cache)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_a_folder_of_another_run_is_left_alone(first, cache):
    folder, _ = first
    before = (folder / "config.json").read_text()
    done = start(*TINY, "--config.seeds=3", f"--workdir={folder}", cache=cache)
    assert done.returncode == 2
    assert "config.seeds: there 2, here 3" in done.stderr
    assert (folder / "config.json").read_text() == before


def test_without_data_and_weights_the_paper_setting_says_what_to_fetch(cache):
    done = start("--config=configs/bpp_esc50.py", cache=cache)
    assert done.returncode == 2
    for word in ("EAT-base_epoch30", "ESC-50", "quickstart", str(cache)):
        assert word in done.stderr


def test_a_trained_probe_is_exported_once(first, cache, tmp_path):
    folder, _ = first
    file = tmp_path / "one_bit.safetensors"
    order = (f"--workdir={folder}", f"--output={file}", "--dense=int8")
    done = start(*order, cache=cache, program="export")
    assert done.returncode == 0, done.stderr
    assert "640 bytes, 20 x 256 bits" in done.stdout
    assert one_bit.load(file).features == 256
    again = start(*order, cache=cache, program="export")
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already: name another file" in again.stderr
    missing = start(cache=cache, program="export")
    assert (
        missing.stderr.strip() == "error: --workdir is missing; --help says what it is"
    )


def test_its_prototypes_are_diagnosed_on_their_training_clips(first, cache, tmp_path):
    folder, out = first[0], tmp_path / "out"
    arguments = (f"--workdir={folder}", "--probe=protobin", f"--output={out}")
    done = start(*arguments, cache=cache, program="diagnose")
    assert done.returncode == 0, done.stderr
    assert "20 prototypes, 24 clips" in done.stdout
    found = json.loads((out / "diagnostics.json").read_text())
    shown = found["prototypes"][0]["nearest"][0]["clip"]
    assert shown.startswith("train-")
    assert shown in (out / "diagnostics.html").read_text()


def test_kills_at_any_moment_change_nothing(tmp_path):
    small = [a for a in TINY if "epochs" not in a]
    done = start(*small, "--config.epochs=4", "--kills=2", program="check_resume",
                 cache=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differing: nothing" in done.stdout


def test_no_tensorflow_and_no_torch_are_imported(first, cache):
    code = (
        "import sys, unmute_jax, unmute_jax.training.run\n"
        "unmute_jax.load_dataset('esc10')\n"
        "bad = {'tensorflow', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "UNMUTE_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
