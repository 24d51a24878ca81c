"""What all commands share: help, kept compiled programs, one-line errors."""

import subprocess
import sys

import pytest

from tests.cli.commands import TINY, environment, start, start_forked


def test_help_shows_lists_as_they_are_typed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.pipeline", "--help"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert "--encoders=A,B,..." in done.stdout
    assert "Default: logmel,eat." in done.stdout


MISTAKES = {
    ("--epochs=2",): "option '--epochs=2': did you mean '--config.epochs=2'?",
    ("--epoch=2",): "option '--epoch=2': did you mean '--config.epochs=2'?",
    ("--seed", "1"): "option '--seed': did you mean '--config.seed'?",
    ("--prototypes_per_class=5",): "did you mean '--config.probe_options.prototypes_",
    ("--dryrun",): "unknown option '--dryrun': did you mean '--dry_run'?",
    ("--zzz=1",): "unknown option '--zzz=1': --help describes the options",
    ("--config.epochs=2",): "--config is missing: give a path, or one of the names",
    ("quickstart",): "unexpected argument 'quickstart': write --config=quickstart",
    ("paper:birds",): "write --config=paper:birds",
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    orders = [["train", *arguments] for arguments in MISTAKES]
    ended = start_forked(orders, cache=tmp_path_factory.mktemp("cache"))
    return dict(zip(MISTAKES, ended, strict=True))


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_what_a_newcomer_mistypes_is_answered_with_what_is_right(arguments, mistaken):
    done = mistaken[arguments]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert MISTAKES[arguments] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_all_options_of_libraries_are_shown_only_if_they_are_asked_for(tmp_path):
    few, all_of_them = start_forked(
        [["report", "--help"], ["report", "--helpfull"]], cache=tmp_path
    )
    assert "--verbosity" not in few.stdout
    assert "--verbosity" in all_of_them.stdout
    assert few.stdout.rstrip() in all_of_them.stdout


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("import nowhere\n", "{}, line 1: ModuleNotFoundError: No module named"),
        ("x = 1\ndef get_config(:\n", "{}, line 2: SyntaxError: "),
        ("def get_config():\n    return 1 / 0\n", "{}, line 2: ZeroDivisionError: "),
        ("def get_config():\n    return 3\n", "get_config of the config file must "),
        ("x = 1\n", "module 'config_config' has no attribute 'get_config'"),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line(content, line, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(content)
    done = start("--config", path, "--dry_run", cache=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: " + line.format(path))
    assert done.stderr.count("\n") == 1


def test_none_sets_an_option_back_to_its_default(shared_cache):
    done = start(
        *TINY,
        "--config.optimizer.learning_rates=None",
        "--config.probe_options.prototypes_per_class",
        "None",
        *("--config.seeds=None", "--config.seeds=3", "--config.epochs=None"),
        "--dry_run",
        cache=shared_cache,
    )
    assert done.returncode == 0, done.stderr
    assert "10 learning rates from 1e-05 to 0.3" in done.stdout
    assert "53,210 parameters" in done.stdout
    assert "batches of 16, 30 epochs" in done.stdout
    assert "the best with 3 seeds" in done.stdout


def test_a_mistake_in_a_config_file_is_told(tmp_path):
    (tmp_path / "own.py").write_text(
        "from unmute_jax.config import default_config\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.epochs = 'many'\n"
        "    return config\n"
    )
    done = start("--config", str(tmp_path / "own.py"), cache=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "own.py" in line
    assert "many is of original type" in line
