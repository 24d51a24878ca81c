"""Commands that are killed at their atomic steps end as undisturbed ones do."""

import os
import shutil
import sys

import pytest
from absl.testing import flagsaver

from experiments.checks import failpoints as check
from experiments.checks.comparison import compare
from tests.cli.commands import start

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and shutil.which("cc")),
    reason="the check needs Linux and a C compiler",
)

# Writes two files, appends to a third and locks a fourth, unless they are there.
CAREFUL = """
import fcntl, os
for name in "ab":
    if not os.path.exists(name):
        with open(name + ".tmp", "w") as file:
            file.write("whole")
        os.replace(name + ".tmp", name)
with open("lock", "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with open("journal", "a+") as journal:
        journal.seek(0)
        lines = [line for line in journal if line.endswith("\\n")]
        journal.truncate(sum(map(len, lines)))
        for number in range(len(lines), 3):
            journal.write(f"line {number}\\n")
            journal.flush()
"""
CARELESS = CAREFUL.replace('".tmp", "w"', '"", "w"').replace(
    'os.replace(name + ".tmp", name)', "pass"
)


def killed(tmp_path, program):
    """Runs a program once undisturbed and once through kills."""
    calm, place = tmp_path / "calm", tmp_path / "place"
    for folder in (calm, place):
        folder.mkdir()
        (folder / "program.py").write_text(program)
    with check.watching(tmp_path, place, ()) as (server, referee):
        check.run(server, "program", (), dict(os.environ), calm)
        watched = {**os.environ, check.FAILPOINTS: referee.address}
        check.run(server, "program", (), watched, place)
        return referee.kinds, referee.kills, compare(calm, place)


@flagsaver.flagsaver(share=1.0)
def test_a_careful_program_is_killed_at_every_step(tmp_path):
    kinds, kills, difference = killed(tmp_path, CAREFUL)
    renames = {f"{when} rename {n}" for when in ("before", "after") for n in "ab"}
    appends = {f"{when} append journal" for when in ("before", "amid", "after")}
    assert kinds == {*renames, *appends, "after lock lock"}
    assert kills == len(kinds)
    assert difference == ([], [])


@flagsaver.flagsaver(share=1.0)
def test_a_program_that_writes_in_place_is_found(tmp_path):
    kinds, _, (left, different) = killed(tmp_path, CARELESS)
    assert "after create a" in kinds
    assert (left, different) == ([], ["a", "b"])


def test_kills_change_no_prepared_data_set_and_no_token(tmp_path):
    options = ("--stages=preparation", "--stages=embedding", "--share=0.1")
    done = start(*options, program="checks.failpoints", cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, preparation, embedding, kills = done.stdout.splitlines()
    assert preparation.startswith("| preparation |")
    assert embedding.split(" | ")[-1] == "0 |"
    assert int(kills.split()[0]) >= 3


def test_files_of_one_kind_have_different_names(tmp_path):
    def kind(text):
        return check.kind_of(text, tmp_path)

    tokens = f"after rename {tmp_path}/cache/tokens/folder_a-%s-logmel-%s"
    one = kind(tokens % ("train", "0123456789abcdef") + "/mean/c/0/0")
    assert one == "after rename cache/tokens/folder_a-*-logmel-#/mean/#"
    assert one == kind(tokens % ("test", "1123456789abcdef") + "/mean/c/1/0")
    assert kind(f"after create {tmp_path}/run/.a.json.x1y2z3ab.tmp") is None
    assert kind("before rename /elsewhere/file") is None
    assert kind("before delete state") == "before delete state"
