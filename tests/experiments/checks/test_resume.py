"""The check of resumed runs finds no difference after a kill."""

from tests.cli.commands import TINY, start


def test_a_kill_changes_nothing(tmp_path):
    options = (*TINY, "--config.probes=linear", "--kills=1")
    done = start(*options, program="checks.resume", cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kills so far; differing: nothing" in done.stdout
