"""What is known of cells is kept in their folders, also as earlier versions left it."""

import json
import time

import pytest

from tests.grid.fake_cells import cells
from unmute_jax.errors import InputError
from unmute_jax.grid.folder import CellStatus, GridFolder


@pytest.fixture
def cell():
    (one,) = cells(probes="linear")
    return one


def state(folder, cell):
    return folder.look([cell])[cell.folder].state


def test_the_seconds_of_a_cell_are_summed_over_all_attempts(tmp_path, cell):
    for _ in range(2):
        folder = GridFolder(str(tmp_path))
        with folder.driven([cell]):
            folder.begin(cell, "here")
            folder.enter(cell, "tokens")
            time.sleep(0.05)
            folder.enter(cell, "training")
            folder.end(cell, "failed", "no memory", "trace")
    found = folder.look([cell])[cell.folder]
    assert found.tokens >= 0.1
    assert 0 < found.training < found.tokens
    assert (found.state, found.message) == ("failed", "no memory")
    # It is tried again, and then nothing says that it once failed.
    with folder.driven([cell]):
        folder.begin(cell, "here")
        found = folder.look([cell])[cell.folder]
        assert (found.state, found.message, found.details) == ("running", "", "")


def test_others_see_what_runs_and_for_how_long(tmp_path, cell):
    driver, other = GridFolder(str(tmp_path)), GridFolder(str(tmp_path))
    assert state(other, cell) == "open"
    with driver.driven([cell]):
        driver.begin(cell, "there")
        driver.enter(cell, "tokens")
        path = driver.of(cell) / "status.json"
        begun = json.loads(path.read_text())
        path.write_text(json.dumps({**begun, "since": "2026-01-01T00:00:00+00:00"}))
        found = other.look([cell])[cell.folder]
        assert (found.state, found.host, found.phase) == ("running", "there", "tokens")
        assert found.tokens > 86400


@pytest.mark.parametrize("place", ["cells/{}/status.json", "claims/{}.json"])
def test_a_cell_whose_driver_was_killed_is_open(tmp_path, cell, place):
    path = tmp_path / place.format(cell.folder)
    path.parent.mkdir(parents=True)
    path.write_text('{"state": "running", "host": "gone", "training": 8.0}')
    (tmp_path / ".lock").touch()
    folder = GridFolder(str(tmp_path))
    assert state(folder, cell) == "open"
    with folder.driven([cell]) as known:
        assert known[cell.folder].state == "open"
        assert state(GridFolder(str(tmp_path)), cell) == "open"
        folder.begin(cell, "here")
        folder.end(cell, "done")
    assert state(folder, cell) == "done"
    assert folder.look([cell])[cell.folder].training > 8.0


def test_cells_that_earlier_versions_have_done_stay_done(tmp_path, cell):
    claim = {
        "state": "done", "owner": "7f41bbde418d4170", "host": "vm", "phase": "",
        "beat": 2, "tokens": 0.25, "training": 8.5, "message": "", "details": "",
        "since": "2025-12-01T16:05:25+00:00",
    }  # fmt: skip
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / f"{cell.folder}.json").write_text(json.dumps(claim))
    assert GridFolder(str(tmp_path)).look([cell])[cell.folder] == CellStatus(
        state="done",
        host="vm",
        tokens=0.25,
        training=8.5,
        since="2025-12-01T16:05:25+00:00",
    )


def test_a_damaged_file_is_one_line(tmp_path, cell):
    path = tmp_path / "cells" / cell.folder / "status.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(InputError, match=r"status\.json: not the status of a cell"):
        GridFolder(str(tmp_path)).look([cell])


def test_a_bucket_is_refused():
    with pytest.raises(InputError, match="--workdir=gs://b/grid: the folder of a grid"):
        GridFolder("gs://b/grid")
