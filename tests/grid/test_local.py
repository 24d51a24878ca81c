"""Grids that are run in this process, cell after cell."""

import pytest
from rich.console import Console

from tests.grid.fake_cells import cells, fake_setup
from tests.training import fakes
from unmute_jax.errors import InputError
from unmute_jax.grid import local, run_cell, status
from unmute_jax.grid.folder import GridFolder
from unmute_jax.report.missing import find_missing

__all__ = ["fake_setup"]
pytestmark = pytest.mark.usefixtures("fake_setup")


def work(chosen, root, logged=None):
    log = (lambda line: None) if logged is None else logged.append
    return local.work(chosen, GridFolder(str(root)), log=log)


def look(chosen, root):
    return GridFolder(str(root)).look(chosen)


def lines(chosen, root):
    folder = GridFolder(str(root))
    return status._lines(status.gather(chosen, folder.look(chosen), folder))


def replace_run(monkeypatch, run):
    monkeypatch.setattr(run_cell, "run_experiment", run)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


def test_a_grid_ends_with_the_records_of_every_cell(root):
    chosen = cells()
    assert work(chosen, root) == []
    for cell in chosen:
        found = fakes.records_in(root / "cells" / cell.folder / "results")
        assert [r.probe for r in found] == [cell.settings.probes] * 2
    again = []
    assert work(chosen, root, again) == []
    assert again == []


def test_the_status_shows_cells_trials_and_time(root):
    chosen = cells(probes="linear,protobin,mhca")
    *_, last, left = lines(chosen, root)
    assert last.startswith(
        "cells    2 done, 0 running, 0 failed, 1 open; 4 of 6 trials"
    )
    assert "1 as any" in left
    folder = GridFolder(str(root))
    console = Console(width=100)
    with console.capture() as captured:
        console.print(status.table(status.gather(chosen, folder.look(chosen), folder)))
    assert "2/3" in captured.get()


def test_a_failed_cell_is_reported_and_tried_again_by_the_next_command(
    tmp_path, monkeypatch
):
    chosen, logged = cells(encoders="sslam,logmel", probes="linear,protobin"), []
    ran = []

    def run(setup, workdir, **_):
        name = setup.settings.probes
        ran.append(name)
        if name == "linear":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore")

    replace_run(monkeypatch, run)
    failed = work(chosen, tmp_path, logged)
    assert failed == [
        "sslam-urban-linear",
        "sslam-urban-protobin",
        "logmel-urban-linear",
    ]
    assert ran == ["linear", "protobin"]
    report = "\n".join(lines(chosen, tmp_path))
    assert "sslam-urban-linear" in report
    assert "sslam: no weights" in report
    assert "RuntimeError: RESOURCE_EXHAUSTED: out of memory more" in report
    assert "1 done, 0 running, 3 failed" in report
    # A report finds them, with the reason.
    lost = [(m.encoder, m.probe, m.state, m.reason) for m in find_missing([tmp_path])]
    assert ("SSLAM", "protobin", "failed", "sslam: no weights") in lost
    assert ("log-mel", "linear", "failed") in [x[:3] for x in lost]
    assert "Traceback" in look(chosen, tmp_path)[chosen[2].folder].details
    # Another command, in which nothing is wrong any more.
    replace_run(monkeypatch, lambda *a, **k: [])
    mended = cells(probes="linear")
    assert work(mended, tmp_path) == []
    (found,) = look(mended, tmp_path).values()
    assert (found.state, found.message, found.details) == ("done", "", "")


def test_ctrl_c_leaves_an_open_cell_and_the_next_command_goes_on(tmp_path, monkeypatch):
    chosen = cells(probes="linear,mhca")

    def run(setup, workdir, **_):
        if setup.settings.probes == "mhca":
            raise KeyboardInterrupt

    replace_run(monkeypatch, run)
    with pytest.raises(KeyboardInterrupt):
        work(chosen, tmp_path)
    assert "1 done, 0 running, 0 failed, 1 open" in lines(chosen, tmp_path)[-2]
    replace_run(monkeypatch, lambda *a, **k: [])
    logged = []
    assert work(chosen, tmp_path, logged) == []
    assert [x for x in logged if x.startswith("cell ")] == [
        "cell 2 of 2: logmel-urban-mhca"
    ]


def test_two_commands_do_not_run_a_grid_at_the_same_time(tmp_path, monkeypatch):
    chosen, seen = cells(probes="linear"), []

    def run(setup, workdir, **_):
        # What another process sees and does meanwhile.
        seen.extend(lines(chosen, tmp_path))
        with pytest.raises(InputError, match="another process is training"):
            work(chosen, tmp_path)

    replace_run(monkeypatch, run)
    assert work(chosen, tmp_path) == []
    assert "running  logmel-urban-linear: training on " in seen[0]
