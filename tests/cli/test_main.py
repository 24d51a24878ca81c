"""The command `unmute` finds its commands, and the installed scripts are the same."""

import importlib
import pathlib
import signal
import subprocess
import sys

import pytest

import unmute_jax
from tests.cli.commands import start_forked
from unmute_jax.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    orders = [[], ["--help"], ["--version"], ["trian"], ["help", "report"]]
    return start_forked(orders, cache=tmp_path_factory.mktemp("cache"))


def test_without_a_command_all_of_them_are_listed(ended):
    for done in ended[:2]:
        assert done.returncode == 0
        for name, what in COMMANDS.items():
            assert f"\n  {name} " in done.stdout
            assert what in " ".join(done.stdout.split())


def test_help_of_a_command_can_be_asked_for_in_both_orders(ended):
    assert ended[4].stdout.startswith("usage: unmute report RUN [RUN ...]")


def test_the_version_is_that_of_the_package(ended):
    assert ended[2].stdout == f"unmute_jax {unmute_jax.__version__}\n"


def test_a_mistyped_command_is_one_line_with_the_nearest_right_name(ended):
    assert ended[3].returncode == 2
    assert ended[3].stderr.startswith("error: unknown command 'trian': did you mean")
    assert "'train'" in ended[3].stderr
    assert len(ended[3].stderr.splitlines()) == 1


def test_every_command_is_a_module_and_most_have_a_door_in_experiments():
    package = pathlib.Path(unmute_jax.__file__).parent
    for name in COMMANDS:
        assert (package / "cli" / f"{name.replace('-', '_')}.py").exists()
    doors = {p.stem for p in pathlib.Path("experiments").glob("*.py")}
    commands = {name.replace("-", "_") for name in COMMANDS}
    # Two have doors in the package itself: python -m unmute_jax.convert. The others are
    # newer than the command `unmute`.
    newer = {"encoders", "probes", "completion"}
    assert commands - doors == {"convert", "datasets"} | newer
    assert importlib.util.find_spec("unmute_jax.convert")
    assert importlib.util.find_spec("unmute_jax.datasets.__main__")


def test_signals_interrupt_the_command_and_neither_its_import_nor_its_end(monkeypatch):
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    seen = []

    class Command:
        def __init__(self):
            seen.append(signal.getsignal(signal.SIGINT))

        def run(self):
            seen.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setattr("sys.argv", ["unmute", "train"])
    monkeypatch.setattr("importlib.import_module", lambda name: Command())
    try:
        main()
        seen.append(signal.getsignal(signal.SIGINT))
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    assert seen == [signal.SIG_DFL, handlers[signal.SIGINT], signal.SIG_DFL]


# Answers for every command which modules its help has imported.
_IMPORTED = """
import os, sys
from unmute_jax.cli import main
for name in ("", *main.COMMANDS):
    child = os.fork()
    if not child:
        out, sys.stdout = sys.stdout, open(os.devnull, "w")
        sys.argv = ["unmute", *filter(None, [name]), "--help"]
        try:
            main._main()
        except SystemExit:
            pass
        found = {module.split(".")[0] for module in sys.modules}
        print(name, *sorted(found), file=out, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_help_imports_nothing_that_takes_long():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True
    )
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert [name for name, *_ in lines] == ["", *COMMANDS]
    heavy = {"jax", "flax", "matplotlib", "numpy", "scipy", "tensorflow_datasets"}
    for name, *modules in lines:
        assert not heavy & set(modules), name
