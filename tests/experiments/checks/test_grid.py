"""The check of grids runs, and would tell."""

from experiments.checks import grid
from tests.cli.commands import TINY as RUN
from tests.cli.commands import start

TINY = (
    "--config=configs/paper.py",
    "--config.encoders=logmel",
    "--config.datasets=esc_mix",
    "--config.probes=linear",
    "--config.search=rates",
    *RUN[1:],
)


def test_a_tiny_grid_survives_a_kill(tmp_path):
    done = start(*TINY, "--kills=1", cache=tmp_path, program="checks.grid")
    assert done.returncode == 0, done.stdout + done.stderr
    # How many rounds end without a kill depends on the machine.
    last = done.stdout.splitlines()[-1]
    assert last.startswith("| all "), done.stdout
    _, rounds, kills, records, different, _ = last.split("|")
    assert (int(kills), int(different)) == (1, 0)
    assert int(records) == 2 * int(rounds.split()[-1])


def test_what_differs_is_named_but_not_times():
    wanted = {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 3}}
    found = {"a": {"value": 1}, "b": {"value": 0}, "d": {"value": 4}}
    assert grid.differing(wanted, found) == ["b", "c", "d"]
    values = {"value": 1, "seconds": 2, "trials": [{"devices": "x", "rate": 3}]}
    assert grid._outcome(values) == {"value": 1, "trials": [{"rate": 3}]}
