"""The option that tells a process where the others of its run are."""

import pytest

from tests.cli.commands import TINY, start_forked
from unmute_jax.cli.processes import writer_first


def test_a_wrong_address_is_one_line(tmp_path):
    specs = ("here", "host:1,2,2", "host,2,1")
    ended = start_forked(
        [["train", *TINY, f"--distributed={spec}"] for spec in specs], cache=tmp_path
    )
    for spec, done in zip(specs, ended, strict=True):
        assert done.returncode == 2
        assert f"--distributed={spec}: must be auto, off or" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_lone_process_makes_things_once():
    calls = []
    assert writer_first(lambda: calls.append(1) or "made") == "made"
    assert calls == [1]


def test_what_fails_in_the_writer_is_raised():
    with pytest.raises(ZeroDivisionError):
        writer_first(lambda: 1 / 0)
