"""Progress, sizes and durations as people see them."""

import io
import re
import sys

import pytest

from unmute_jax.console import (
    duration_text,
    hub_bar,
    inform,
    progress,
    say,
    set_verbose,
    size_text,
)


def test_the_library_prints_nothing_unless_asked(capfd, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with progress("embedding", 10, unit="clips", line_every=0.0) as advance:
        advance(3)
    inform("12 clips were skipped")
    hub_bar()(total=3).update(1)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("embedding", 10, unit="clips") as advance:
        advance(3)
    assert terminal.getvalue() == ""
    set_verbose()
    inform("12 clips were skipped")
    set_verbose(False)
    say("a result")
    assert capfd.readouterr().out == "12 clips were skipped\na result\n"


def test_a_verbose_library_shows_the_bars_of_hugging_face(verbose):
    assert hub_bar() is None


def test_without_a_terminal_progress_is_lines_with_rate_and_rest(verbose, capfd):
    with progress("embedding", 10, unit="clips", done=4, line_every=0.0) as advance:
        # Nothing has been done yet: there is no rate, and no division by zero.
        advance(0)
        advance(3)
    first, second = capfd.readouterr().err.splitlines()
    assert first == "embedding: 4/10 clips"
    assert re.fullmatch(r"embedding: 7/10 clips, \S+ clips/s, about \d+ s left", second)


def test_lines_do_not_fill_a_log(verbose, capfd):
    with progress("embedding", 100, unit="clips") as advance:
        for _ in range(100):
            advance(1)
    assert not capfd.readouterr().err


def test_on_a_terminal_progress_is_a_bar(verbose, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("embedding", 10, unit="clips") as advance:
        advance(0)
        advance(7)
    assert "embedding" in terminal.getvalue()
    assert "7/10" in terminal.getvalue()


@pytest.mark.parametrize(
    ("count", "text"), [(999, "1.0 kB"), (3_600_000, "3.6 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes(count, text):
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.0, "7 s"), (90.0, "1.5 min"), (9000.0, "2.5 h")]
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
