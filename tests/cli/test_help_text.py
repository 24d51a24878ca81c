"""Help as a person reads it: usage, examples, options with meaning and values."""

import itertools

import pytest

from tests.cli.commands import start
from unmute_jax.cli.help_text import described, help_text
from unmute_jax.cli.main import COMMANDS
from unmute_jax.cli.options import Option, Part


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")


def test_a_text_has_usage_description_and_options():
    both = (Part(("mlp",), "width.", "0"), Part(("conv",), "channels.", "256"))
    options = [
        Option("epochs", (Part((), "Number of epochs.", ""),), "a number", "30", "N"),
        Option("width", both, "a whole number", "", "N"),
        Option("plot", (Part((), "Draw.", ""),)),
    ]
    text = help_text("unmute x", "Does it.\n\nunmute x --plot\n", [("Some", options)])
    assert text == (
        "usage: unmute x\n\nDoes it.\n\n  unmute x --plot\n\nSome:\n"
        "  --epochs=N\n"
        "      Number of epochs. Values: a number. Default: 30.\n"
        "  --width=N\n"
        "      mlp: width. Default: 0.\n"
        "      conv: channels. Default: 256.\n"
        "      Values: a whole number.\n"
        "  --plot\n"
        "      Draw."
    )


def test_long_examples_are_continued_as_shells_read_them():
    example = "unmute grid " + " ".join(f"--option{i}=value" for i in range(5))
    first, second = described(example)
    assert first.endswith(" \\")
    assert " ".join((first[:-1] + second).split()) == example


def test_paragraphs_are_wrapped_and_lists_stay():
    about = "Words " * 20 + "\n\n    name   what it is\n"
    *words, empty, listing = described(about)
    assert len(words) == 2
    assert max(map(len, words)) <= 60
    assert (empty, listing) == ("", "    name   what it is")


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return {
        name: start("--help", program=name, cache=cache)
        for name in (*COMMANDS, "checks.resume")
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(helps, name):
    done = helps[name]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: unmute {name} ")
    assert f"\n  unmute {name}" in done.stdout  # An example.
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 90
    for line, after in itertools.pairwise(lines):
        if line.startswith("  --"):  # Every option has a sentence.
            assert after.startswith("      ")
            assert after.strip()
    assert "--logtostderr" not in done.stdout


def test_what_a_newcomer_needs_stands_first(helps):
    text = helps["train"].stdout
    order = ("usage: unmute train --config=CONFIG", "unmute train --config quickstart",
             "\n  --config=CONFIG", "\n  --workdir", "\n  --dry_run",
             "\n  --config.dataset=", "\n  --config.probes=", "\nData:",
             "\nSearch:", "\nMachines:", "\n  --config.devices=N")  # fmt: skip
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_only_what_a_command_reads_is_shown(helps):
    assert "--workdir" not in helps["report"].stdout
    assert "--config" not in helps["report"].stdout
    assert "--config.encoders=TEXT" in helps["grid"].stdout
    assert "--config.encoder=" not in helps["grid"].stdout


def test_programs_outside_of_the_package_have_the_same_help(helps):
    done = helps["checks.resume"]
    assert done.stdout.startswith("usage: python -m experiments.checks.resume ")
    assert "--config.epochs=N" in done.stdout
