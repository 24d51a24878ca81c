"""The public API: what a user's script may rely on, its types, and what it costs."""

import ast
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

import unmute_jax as uj
from tests.api import user_script
from tests.cli.commands import TINY, start

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = pathlib.Path(user_script.__file__)


def used_names():
    """The names of the package that the script uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "uj"
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder in which the script has trained."""
    folder = tmp_path_factory.mktemp("api")
    user_script.runs_and_reports(folder)
    return folder


def test_the_script_uses_every_public_name():
    assert used_names() == set(uj.__all__)


def test_every_public_name_can_be_imported_and_is_documented():
    for name in uj.__all__:
        public = getattr(uj, name)
        assert name == "__version__" or public.__doc__
    assert dir(uj) == uj.__all__
    with pytest.raises(AttributeError, match="no attribute 'load_encodr'"):
        uj.load_encodr  # noqa: B018


def test_the_script_runs_and_the_library_prints_nothing(runs, capfd):
    user_script.predictions(runs)
    user_script.own_loop(runs)
    user_script.the_rest()
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "unknown probe 'protobim': did you mean 'protobin' or 'proto' or 'protofloat'?"
    ]
    assert err == ""
    assert (runs / "report" / "report.html").exists()


def test_the_commands_go_on_with_a_run_of_the_script(runs):
    before = [path.stat().st_mtime_ns for path in (runs / "run" / "results").iterdir()]
    arguments = (*TINY, "--config.probes=linear,protobin", f"--workdir={runs}/run")
    arguments = [a for a in arguments if "prototypes" not in a]
    done = start(*arguments, "--config.steps=0", cache=os.environ["UNMUTE_CACHE"])
    assert done.returncode == 0, done.stderr
    assert f"all files of this run are in {runs}/run/" in done.stdout
    after = [path.stat().st_mtime_ns for path in (runs / "run" / "results").iterdir()]
    assert before == after


def test_the_commands_read_the_probe_of_a_loop_of_the_user(runs, tmp_path):
    user_script.own_loop(runs)
    for program, *arguments in (
        ("predict", f"{runs}/noise.wav"),
        ("diagnose", f"--output={tmp_path}"),
        ("export", f"--output={tmp_path}/one_bit.safetensors"),
    ):
        arguments += [f"--workdir={runs}/own.safetensors"]
        done = start(*arguments, program=program, cache=os.environ["UNMUTE_CACHE"])
        assert done.returncode == 0, done.stderr
        if program == "predict":
            assert done.stdout.startswith("protobin, esc_mix, sources of folds ")
            assert "validation unknown\nnoise.wav (12.0 s): " in done.stdout


def test_a_verbose_library_prints_what_it_does(runs, verbose, capfd):
    uj.train(user_script.small_experiment(), workdir=runs / "run")
    out = capfd.readouterr().out
    assert out.startswith("data of esc_mix: ")
    assert "tokens of esc_mix train: read from" in out


def test_a_run_is_read_again_with_the_paths_of_its_records(runs):
    records = uj.train(user_script.small_experiment(), workdir=runs / "run")
    again = uj.read_records(runs / "run")
    assert len(records) == 4
    assert sorted(records, key=str) == sorted(again, key=str)
    assert {r.path for r in records} == {r.path for r in again}
    assert all(r.path.parent == runs / "run" / "results" for r in records)


def test_a_comparison_of_records_is_that_of_their_folders(runs):
    records = uj.read_records(runs)
    compared = uj.compare(records)
    assert compared == uj.compare(runs)
    # Without their predictions, nothing would be known of other clips.
    assert {c.over for c in compared if c.kind == "probes"} == {"clips, seeds"}
    first = next(r for r in records if r.probe == "linear")
    with pytest.raises(uj.InputError, match="the record of linear on esc_mix, seed "):
        uj.compare([dataclasses.replace(first, path=None)])
    with pytest.raises(uj.InputError, match="there are no records"):
        uj.compare([])


def test_a_config_can_be_given_in_every_form(runs):
    settings = user_script.small_experiment()
    records = uj.train(settings.to_dict(), workdir=runs / "run")
    assert records == uj.train(settings, workdir=str(runs / "run"))
    with pytest.raises(uj.InputError, match="did you mean 'quickstart'"):
        uj.train("quickstat")
    # Another experiment does not get into the folder.
    with pytest.raises(uj.InputError, match=r"config\.seeds: there 2, here 3"):
        uj.train(dataclasses.replace(settings, seeds=3), workdir=runs / "run")


@pytest.fixture
def copied(tmp_path):
    """The script in a folder outside of the checkout, as a user has it."""
    return shutil.copy(SCRIPT, tmp_path)


def check(copied, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command, copied],
        cwd=pathlib.Path(copied).parent,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_mypy_knows_every_type(copied):
    pytest.importorskip("mypy")
    code, found = check(copied, "mypy", "--strict", "--cache-dir=mypy")
    assert (code, found) == (0, "Success: no issues found in 1 source file\n")


def test_pyright_knows_every_type(copied):
    pytest.importorskip("basedpyright")
    python = f"--pythonpath={sys.executable}"
    code, found = check(copied, "basedpyright", "--level=error", python)
    assert (code, found.splitlines()[-1]) == (0, "0 errors, 0 warnings, 0 notes")


def test_the_package_imports_nothing_until_a_name_is_used():
    code = (
        "import sys; before = set(sys.modules); import unmute_jax as uj\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*new - sys.stdlib_module_names)\n"
        "uj.InputError, uj.set_verbose\n"
        "print(*{'jax', 'flax', 'numpy', 'librosa', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["unmute_jax", ""]


def test_the_version_is_written_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert uj.__version__ == project["version"]
    assert uj.__version__ == importlib.metadata.version("unmute-jax")
    # The one other file that must state it cannot read it.
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"(?m)^version: (.*)$", citation) == [uj.__version__]
    for path in (ROOT / "unmute_jax").rglob("*.py"):
        assert f'"{uj.__version__}"' not in path.read_text(), path


def test_types_are_announced_to_type_checkers():
    assert (ROOT / "unmute_jax" / "py.typed").exists()


def test_the_documentation_names_every_public_function():
    page = (ROOT / "docs" / "python.md").read_text()
    assert {n for n in uj.__all__ if n[0].islower() and f"uj.{n}" not in page} == set()
