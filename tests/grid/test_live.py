"""The view of a running grid, on a terminal and without one."""

import sys

from tests.grid.fake_cells import cells
from unmute_jax.grid import live
from unmute_jax.grid.folder import GridFolder


class Terminal:
    """An output that says that it is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


def test_a_terminal_shows_all_cells_above_which_lines_appear(tmp_path, monkeypatch):
    terminal, chosen = Terminal(), cells(probes="linear,mhca")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(live, "SHOW_EVERY", 0.01)
    folder, logged = GridFolder(str(tmp_path)), []
    with (
        folder.driven(chosen),
        live.shown(chosen, folder, logged.append) as tell,
    ):
        folder.begin(chosen[0], "one")
        tell("a line with an \x1b escape")
        while "running  logmel-urban-linear: opening on one" not in terminal.text:
            pass
    assert "1 running" in terminal.text
    assert "a line with an \\x1b escape" in terminal.text
    assert logged == []


def test_without_a_terminal_there_are_only_lines(tmp_path, capsys):
    logged = []
    with live.shown(cells(), GridFolder(str(tmp_path)), logged.append) as tell:
        tell("a line")
    assert logged == ["a line"]
    assert capsys.readouterr().out == ""
