"""How a cell ends: done, or failed with a reason in one line."""

import errno

import pytest

from tests.grid.fake_cells import cells, fake_setup
from unmute_jax.errors import InputError
from unmute_jax.grid import run_cell
from unmute_jax.grid.run_cell import Opener
from unmute_jax.training.setup import open_source

__all__ = ["fake_setup"]
pytestmark = pytest.mark.usefixtures("fake_setup")


def run_all(chosen, folder):
    opener, silent = Opener(), lambda line: None
    return [
        run_cell.run_cell(cell, folder / cell.folder, opener, silent, silent)
        for cell in chosen
    ]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("out of memory\nmore"), "RuntimeError: out of memory more"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "x: No space left"),
    ],
)
def test_what_a_cell_raises_is_one_line_with_its_traceback(
    tmp_path, monkeypatch, error, message
):
    def run(setup, workdir, log):
        raise error

    monkeypatch.setattr(run_cell, "run_experiment", run)
    (ended,) = run_all(cells(probes="linear"), tmp_path)
    assert ended.state == "failed"
    assert ended.message.startswith(message)
    assert "Traceback" in ended.details


def test_a_missing_data_set_is_looked_for_once(tmp_path, monkeypatch):
    tried = []

    def prepare(settings):
        tried.append(settings.probes)
        raise InputError("nothing here")

    def open_dataset(settings):
        raise InputError("no urban")

    monkeypatch.setattr(run_cell, "prepare", prepare)
    monkeypatch.setattr(run_cell, "open_dataset", open_dataset)
    chosen = cells(probes="linear,protobin,mhca")
    outcomes = run_all(chosen, tmp_path)
    assert [outcome.state for outcome in outcomes] == ["failed"] * 3
    assert len(tried) == 1
    assert outcomes[-1] == ("failed", "no urban", "")


def test_exported_tokens_of_one_data_set_may_be_missing(tmp_path, monkeypatch):
    tried = []

    def prepare(settings):
        tried.append(settings.encoder)
        raise InputError("nothing here")

    monkeypatch.setattr(run_cell, "prepare", prepare)
    monkeypatch.setattr(run_cell, "open_source", open_source)
    encoders = f"tokens:{tmp_path}/{{dataset}}"
    chosen = cells(encoders=encoders, datasets="urban,esc50", probes="linear,mhca")
    assert len(run_all(chosen, tmp_path / "grid")) == 4
    assert tried == [f"tokens:{tmp_path}/urban", f"tokens:{tmp_path}/esc50"]
