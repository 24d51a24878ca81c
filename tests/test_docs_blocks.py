"""The code of the pages works: commands are read, and programs and tutorials are run.

The pages are parsed by markdown-it. Libraries that run code blocks of Markdown
(pytest-markdown-docs, mktestdocs, sybil) run Python or a shell as they are; commands
here are read by the real parser without being run, or run in forks with few clips.
"""

import os
import pathlib
import shlex
import shutil

import pytest

from experiments import tutorials
from tests.cli.commands import run_module, start
from tests.test_docs import PAGES, ROOT

CONFIGS = {"my_experiment.py": "quickstart.py", "my_grid.py": "example_grid.py"}


def commands_in(text):
    """The `unmute` commands of a block of bash, also those inside of other commands."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        command = None
        for word in lexer:
            if set(word) <= set(";&|"):
                command = None
            elif command is not None:
                command.append(word)
            elif pathlib.PurePath(word).name == "unmute":
                command = []
                yield command
            elif "unmute " in word:
                yield from commands_in(word.partition("=")[2] or word)


def name(page):
    return str(page.relative_to(ROOT))


def all_commands():
    for page in PAGES:
        for block in tutorials.blocks(page.read_text()):
            if block.kind == "bash":
                for command in commands_in(block.text):
                    # Commands are complete only once the generator has gone on.
                    yield page, block.first + 1, command


COMMANDS = [
    pytest.param(command, id=f"{name(page)}:{line}:{' '.join(command[:2])}")
    for page, line, command in list(all_commands())
]
PROGRAMS = {
    page: code
    for page in PAGES
    if page not in tutorials.PAGES
    if (
        code := "\n".join(
            block.text
            for block in tutorials.runnable(page.read_text())
            if block.kind == "python"
        )
    )
}


@pytest.fixture(scope="module")
def cache():
    """One cache for all pages, so that the same small data are prepared once."""
    return pathlib.Path(os.environ["UNMUTE_CACHE"]) / "docs"


def parsed(command, cache, folder):
    """How a command line ended that was read in a folder."""
    # Not as a module of `tests`, because other packages install one of that name.
    shutil.copy(ROOT / "tests" / "parse_only.py", folder)
    for own, shipped in CONFIGS.items():
        shutil.copy(ROOT / "configs" / shipped, folder / own)
    return run_module("parse_only", *command, cache=cache, cwd=folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command, cache, tmp_path):
    done = parsed(command, cache, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_programs_run(page, cache, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAMS[page])
    done = run_module("program", cache=cache, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", tutorials.PAGES, ids=name)
def test_tutorials_work_in_small(page, cache, tmp_path):
    text = page.read_text()
    if "import torch" in text:
        pytest.importorskip("torch")

    def run(program, arguments, folder):
        if program == "python":
            module = arguments[0].removesuffix(".py")
            done = run_module(module, *arguments[1:], cache=cache, cwd=folder)
        else:
            done = start(*arguments[1:], cache=cache, program=arguments[0], cwd=folder)
        assert done.returncode == 0, f"{program} {arguments}\n{done.stderr}"
        return done.stdout

    tutorials.run_page(text, tmp_path, run, small=True)
    for file, copy in tutorials.pictures(text):
        assert list(tmp_path.glob(file)), file
        assert (page.parent / copy).exists()


@pytest.mark.parametrize("page", tutorials.PAGES, ids=name)
def test_tutorials_show_what_their_commands_print(page):
    is_output = False
    for block in tutorials.blocks(page.read_text()):
        assert not is_output or (block.kind == "text" and block.text.strip())
        is_output = block.kind == "comment" and block.text.startswith("output")


def test_a_command_of_another_command_is_found():
    line = "ssh --command='cd /x && A=b .venv/bin/unmute train --config=a' # unmute b"
    assert [*commands_in(line)] == [["train", "--config=a"]]


def test_a_wrong_option_is_noticed(cache, tmp_path):
    done = parsed(["train", "--config=quickstart", "--config.epoch=3"], cache, tmp_path)
    assert done.returncode == 2
    assert "config.epochs" in done.stderr


def test_outputs_are_written_below_their_commands(tmp_path):
    page = "\n".join(
        [
            "```bash",
            "unmute one --two=3  # comment",
            "```",
            "<!-- output: from new -->",
            "```text",
            "old",
            "```",
            "end",
        ]
    )
    seen = []

    def run(*call):
        seen.append(call)
        return "first\nnew\n"

    written = tutorials.run_page(page, tmp_path, run)
    assert seen == [("unmute", ["one", "--two=3"], tmp_path)]
    assert written == page.replace("old", "new") + "\n"
