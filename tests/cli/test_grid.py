"""A grid is shown before it is run, and mistakes are one line."""

import pytest

from tests.cli.commands import start_forked


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    small = ["--config.encoders=logmel", "--config.datasets=esc_mix,esc10"]
    orders = [
        ["--config", "example_grid", *small, "--config.probes=linear,stats"],
        ["--config", "paper:bird"],
    ]
    return start_forked(
        [["grid", *o, "--status", f"--workdir={folder / 'run'}"] for o in orders],
        cache=folder / "cache",
    )


def test_the_status_counts_the_cells_of_each_pair(ended):
    assert ended[0].returncode == 0, ended[0].stderr
    for dataset in ("esc_mix", "esc10"):
        (row,) = (r for r in ended[0].stdout.splitlines() if f" {dataset} " in r)
        assert "0/2" in row


def test_a_mistake_is_one_line_with_the_nearest_right_name(ended):
    assert ended[1].returncode == 2
    assert "did you mean 'birds'" in ended[1].stderr
    assert len(ended[1].stderr.splitlines()) == 1
