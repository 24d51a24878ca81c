"""The check of token stores runs, and would tell."""

from tests.cli.test_train import start


def test_kills_and_harm_are_survived_in_small(tmp_path):
    small = ("--kills=1", "--clips=70", "--corruptions=3")
    done = start(*small, cache=tmp_path, program="check_store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| altered bytes | 3 | 0 |" in done.stdout
    assert "amiss:" not in done.stdout
