"""Every command ends with a known exit code and at most one line of complaint."""

import errno
import io
import os
import sys
from types import SimpleNamespace

import pytest

from unmute_jax.cli.ending import explained
from unmute_jax.distributed.signals import Stopped
from unmute_jax.errors import InputError


def ending(capsys, error):
    """The exit code, and what was printed as errors, if a command raises `error`."""

    def command():
        with explained():
            raise error

    with pytest.raises(SystemExit) as end:
        command()
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.wav: is empty"), 2, "error: a.wav: is empty"),
        (
            OSError(errno.EROFS, "Read-only file system", "/out/a.csv"),
            2,
            "error: /out/a.csv: Read-only file system",
        ),
        (
            RuntimeError("write() failed: No space left on device"),
            2,
            "error: No space left on device",
        ),
        (
            MemoryError("Unable to allocate 7 TiB"),
            2,
            "error: this machine has not enough memory: Unable to allocate 7 TiB",
        ),
        (Stopped(15), 143, "stopped by SIGTERM; the same command goes on from here"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
    ],
)
def test_foreseen_errors_are_one_line(capsys, error, code, line):
    assert ending(capsys, error) == (code, f"{line}\n")


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ("AssertionError", ""),
        (
            "RuntimeError('Unable to initialize backend (set JAX_PLATFORMS=\"\")')",
            " (Unable to initialize backend)",
        ),
    ],
)
def test_a_missing_accelerator_is_one_line(capsys, monkeypatch, raised, reason):
    def command():
        with explained():
            # As if JAX had raised it.
            exec(compile(f"raise {raised}", "jax/_src/xla_bridge.py", "exec"))

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(SystemExit, match="2"):
        command()
    line = f"error: JAX_PLATFORMS=cuda, but JAX finds no such device{reason}: unset it"
    assert capsys.readouterr().err.startswith(line)


def test_a_closed_pipe_ends_quietly(capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)

    def command():
        with explained():
            print("a table")

    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit, match="141"):
            command()
        print("more, at the exit of the interpreter", flush=True)
    assert not capsys.readouterr().err


def test_a_command_needs_no_output(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with explained():
        print("a table")
        assert not sys.stderr.isatty()
    sys.stdout.close()
    sys.stderr.close()


def test_a_full_disk_below_the_output_is_one_line(capsys, monkeypatch):
    def command():
        with explained():
            print("a table")

    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match="2"):
            command()
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_a_terminal_without_unicode_shows_every_character(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with explained():
        print("Müll 3 ± 1 → 犬 \udcff")
    assert out.buffer.getvalue() == b"M\\xfcll 3 +- 1 -> \\u72ac \\udcff\n"


def test_other_threads_do_not_repeat_an_error_that_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(sys, "__unraisablehook__", lambda x: print(x.exc_value))
    with explained():
        for text in ("Event loop is closed", "another fault"):
            sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(text)))
    assert capsys.readouterr().out == "another fault\n"
