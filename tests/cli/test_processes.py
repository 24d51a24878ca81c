"""The option that tells a process where the others of its run are."""

from tests.cli.commands import TINY, start_forked


def test_a_wrong_address_is_one_line(tmp_path):
    specs = ("here", "host:1,2,2", "host,2,1")
    ended = start_forked(
        [["train", *TINY, f"--distributed={spec}"] for spec in specs], cache=tmp_path
    )
    for spec, done in zip(specs, ended, strict=True):
        assert done.returncode == 2
        assert f"--distributed={spec}: must be auto, off or" in done.stderr
        assert len(done.stderr.splitlines()) == 1
