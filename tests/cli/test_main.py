"""The command `unmute` finds its commands, and the installed scripts are the same."""

import importlib
import pathlib
import signal

import pytest

import unmute_jax
from tests.cli.commands import start_forked
from unmute_jax.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    orders = [[], ["--help"], ["--version"], ["trian"]]
    return start_forked(orders, cache=tmp_path_factory.mktemp("cache"))


def test_without_a_command_all_of_them_are_listed(ended):
    for done in ended[:2]:
        assert done.returncode == 0
        for name, what in COMMANDS.items():
            assert f"{name} " in done.stdout
            assert what in done.stdout


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
    # These two are doors of the package itself: python -m unmute_jax.convert.
    assert commands - doors == {"convert", "datasets"}
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
