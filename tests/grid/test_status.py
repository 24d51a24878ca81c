"""What is reported of a grid: finished and planned trials, and the time left."""

import pytest

from tests.grid.fake_cells import cells
from unmute_jax.grid import status
from unmute_jax.grid.folder import CellStatus, GridFolder


@pytest.mark.parametrize(
    ("dataset", "test_fold", "protocols"),
    [
        ("urban", None, 1),
        ("urban", 0, 1),
        ("esc10", None, 1),
        ("esc10", 0, 5),
        ("esc10", 3, 1),
        ("folder:/nowhere", 2, 1),
        ("folder:/nowhere", 0, None),
    ],
)
def test_trials_are_planned_for_every_protocol(dataset, test_fold, protocols):
    given = {"datasets": dataset, "dataset_options": {"test_fold": test_fold}}
    rates, fitted = cells(probes="linear,knn", **given)
    (sweep,) = cells(probes="linear", search="sweep", **given)
    if protocols is None:
        assert status.planned_trials(rates) is status.planned_trials(sweep) is None
    else:
        assert status.planned_trials(rates) == 2 * protocols
        assert status.planned_trials(sweep) == 50 * protocols
    assert status.planned_trials(fitted) == 0


def write(root, cell, room, count):
    folder = root / "cells" / cell.folder / room
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.json").touch()


@pytest.mark.parametrize(
    ("dataset", "running", "summary"),
    [("esc10", "12 of 250", "12 of 500"), ("folder:/nowhere", "12", "12")],
)
def test_a_running_search_tells_its_trials_and_a_fitted_probe_has_none(
    tmp_path, dataset, running, summary
):
    chosen = cells(
        datasets=dataset,
        dataset_options={"test_fold": 0},
        probes="linear,protobin,knn",
        search="sweep",
    )
    sweep, _, fitted = chosen
    # The records of the first fold are no trials of the search.
    write(tmp_path, sweep, "trials", 12)
    write(tmp_path, sweep, "results", 2)
    write(tmp_path, fitted, "results", 1)
    folder = GridFolder(str(tmp_path))
    with folder.driven(chosen) as known:
        folder.begin(sweep, "here")
        folder.begin(fitted, "there")
        progress = status.gather(chosen, known, folder)
        first, second, last, _ = status._lines(progress)
    assert first.endswith(f", {running} trials")
    assert "trials" not in second
    assert f"1 open; {summary} trials finished" in last


def test_a_cell_that_takes_longer_than_its_like_goes_on_at_its_own_pace():
    def left(training, trials, tpe=25):
        sweep = {"sobol": 25, "tpe": tpe}
        chosen = cells(
            probes="linear", encoders="logmel,eat", search="sweep", sweep=sweep
        )
        done, running = (c.folder for c in chosen)
        entries = {
            done: CellStatus(state="done", tokens=5.0, training=100.0),
            running: CellStatus(state="running", tokens=5.0, training=training),
        }
        found = status.Progress(chosen, entries, {done: 50, running: trials})
        return status.time_left(found)

    # As long as it may be like the other, the other tells.
    assert left(70.0, 10).seconds == pytest.approx(30.0)
    assert "1 as the same data set and probe" in left(70.0, 10).basis
    assert left(200.0, 40).seconds == pytest.approx(50.0)
    assert "1 as its own trials so far" in left(200.0, 40).basis
    # Nothing is known of its trials, or all are finished.
    assert left(200.0, 0).seconds == 0.0
    assert left(200.0, 50).seconds == 0.0
    assert left(200.0, 40, tpe=75).seconds == pytest.approx(300.0)
