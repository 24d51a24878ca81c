"""What all commands share: help, kept compiled programs, one-line errors."""

import os
import subprocess
import sys

import pytest

from tests.cli.commands import TINY, environment, start
from unmute_jax.distributed.compiled import COMPILED_BYTES


def test_help_lists_every_option_with_its_default(tmp_path):
    done = start("--help", cache=tmp_path)
    assert done.returncode == 0
    for line in ("--config.epochs=30", "--config.optimizer.b2=0.999", "--workdir",
                 "--dry_run", "--config.frontend.recipe=None"):  # fmt: skip
        assert line in done.stdout


def test_help_says_which_values_an_option_may_have(tmp_path):
    lines = start("--help", cache=tmp_path).stdout.splitlines()
    for option, words in {
        "--config.optimizer.b1=0.9": "a number from 0 to below 1",
        "--config.optimizer.learning_rates=": "up to 100 different numbers separated",
        "--config.report_epoch=last": "last or best",
        "--config.tokens.batch_size=None": "a whole number from 1 to 4,096, or None",
    }.items():
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(option))
        assert lines[at + 1].strip().startswith(words)


def test_help_shows_lists_as_they_are_typed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.pipeline", "--help"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert "--encoders [logmel,eat]\n" in done.stdout


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


def test_compiled_programs_are_kept_up_to_a_limit(tmp_path):
    code = (
        "import jax\n"
        "from unmute_jax.cli import program\n"
        "with program.command('test'):\n"
        "    jax.jit(lambda x: x + 1)(1.0)\n"
        "    print(jax.config.jax_compilation_cache_max_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            k: v
            for k, v in environment(tmp_path).items()
            if k != "JAX_COMPILATION_CACHE_DIR"
        },
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == COMPILED_BYTES
    assert any((tmp_path / "compiled").rglob("*-cache"))
