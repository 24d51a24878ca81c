"""An encoder is checked by the command, with one line per check."""

from tests.cli.commands import start_forked


def test_the_exit_code_says_whether_a_check_failed(tmp_path):
    good, unknown, option = start_forked(
        [
            ["check-encoder", "logmel", "--seconds=1"],
            ["check-encoder", "logmell"],
            ["check-encoder", "logmel", "--option", "layer"],
        ],
        cache=tmp_path,
    )
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[-1] == "nothing failed"
    verdicts = {line.split()[0] for line in good.stdout.splitlines()[:-1]}
    assert verdicts <= {"PASS", "NOTE"}
    assert unknown.returncode == 2
    assert "did you mean 'logmel'" in unknown.stderr
    assert "--option=layer: must be name=value" in option.stderr
