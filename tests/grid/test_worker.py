"""Grids of small fake cells, and of cells whose run is replaced."""

import threading
import uuid

import pytest
from rich.console import Console

from tests.training import fakes
from unmute_jax.errors import InputError
from unmute_jax.grid import folders, status, worker
from unmute_jax.grid.cells import Grid, default_grid
from unmute_jax.grid.claims import Claims
from unmute_jax.report.missing import find_missing
from unmute_jax.training.run import loop, run_experiment
from unmute_jax.training.setup import open_source


@pytest.fixture(autouse=True)
def fake_setup(monkeypatch):
    """Cells are made of tones; the encoder `sslam` has no weights."""

    def open_source(settings):
        if settings.encoder == "sslam":
            raise InputError("sslam: no weights")

    monkeypatch.setattr(worker, "open_source", open_source)
    monkeypatch.setattr(worker, "open_dataset", lambda settings: None)

    def prepare(settings):
        open_source(settings)
        return fakes.make_setup(settings)

    monkeypatch.setattr(worker, "prepare", prepare)
    monkeypatch.setattr(worker, "LOOK_EVERY", 0.05)


def cells(**values):
    config = default_grid()
    config.encoders, config.datasets = "logmel", "urban"
    config.epochs, config.batch_size, config.seeds = 1, 16, 2
    config.optimizer.learning_rates = (0.1,)
    for key, value in values.items():
        config[key] = value
    return Grid.from_dict(config.to_dict()).cells()


def work(chosen, root, logged=None, **options):
    log = (lambda line: None) if logged is None else logged.append
    return worker.work(chosen, Claims(root), log=log, **options)


def lines(chosen, root):
    known = Claims(root).look(c.folder for c in chosen)
    return status._lines(status.gather(chosen, known, root))


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
    known = Claims(root).look(c.folder for c in chosen)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(status.table(status.gather(chosen, known, root)))
    assert "2/3" in captured.get()


def test_a_failed_cell_is_reported_and_retried_by_the_next_process(tmp_path):
    chosen, logged = cells(encoders="sslam,logmel", probes="linear,protobin"), []
    ran = []

    def run(setup, workdir, **_):
        name = setup.settings.probes
        ran.append(name)
        if name == "linear":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore")

    failed = work(chosen, tmp_path, logged, run=run)
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
    entries = Claims(tmp_path).look(c.folder for c in chosen)
    assert "Traceback" in entries[chosen[2].folder].details
    # Another process, in which nothing is wrong any more.
    mended = cells(probes="linear")
    assert work(mended, tmp_path, run=lambda *a, **k: []) == []
    assert Claims(tmp_path).look([mended[0].folder])[mended[0].folder].state == "done"


def test_a_missing_data_set_is_looked_for_once(tmp_path, monkeypatch):
    tried = []

    def prepare(settings):
        tried.append(settings.probes)
        raise InputError("nothing here")

    def open_dataset(settings):
        raise InputError("no urban")

    monkeypatch.setattr(worker, "prepare", prepare)
    monkeypatch.setattr(worker, "open_dataset", open_dataset)
    chosen = cells(probes="linear,protobin,mhca")
    assert len(work(chosen, tmp_path)) == 3
    assert len(tried) == 1
    assert "no urban" in lines(chosen, tmp_path)[2]


def test_exported_tokens_of_one_data_set_may_be_missing(tmp_path, monkeypatch):
    tried = []

    def prepare(settings):
        tried.append(settings.encoder)
        raise InputError("nothing here")

    monkeypatch.setattr(worker, "prepare", prepare)
    monkeypatch.setattr(worker, "open_source", open_source)
    encoders = f"tokens:{tmp_path}/{{dataset}}"
    chosen = cells(encoders=encoders, datasets="urban,esc50", probes="linear,mhca")
    assert len(work(chosen, tmp_path / "grid")) == 4
    assert tried == [f"tokens:{tmp_path}/urban", f"tokens:{tmp_path}/esc50"]


def test_two_workers_share_a_grid_and_each_cell_is_run_once(tmp_path):
    chosen = cells(encoders="logmel,eat", probes="linear,protobin,mhca")
    ran, meet = [], threading.Barrier(2, timeout=60)

    def run(setup, workdir, **_):
        if len(ran) < 2:
            meet.wait()  # Both are at work.
        ran.append((setup.settings.encoder, setup.settings.probes))
        return []

    workers = [
        threading.Thread(target=work, args=(chosen, tmp_path), kwargs={"run": run})
        for _ in range(2)
    ]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert len(ran) == len(set(ran)) == 6
    # They began with the tokens of different encoders.
    assert {encoder for encoder, _ in ran[:2]} == {"logmel", "eat"}


def test_a_stopped_worker_opens_its_cell_again(tmp_path):
    chosen = cells(probes="linear")

    def run(setup, workdir, **_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(chosen, tmp_path, run=run)
    assert "0 running, 0 failed, 1 open" in lines(chosen, tmp_path)[-2]


def test_a_worker_whose_cell_was_taken_over_leaves_it(tmp_path):
    chosen, ran, logged = cells(probes="linear"), [], []

    def run(setup, workdir, **_):
        ran.append(setup)
        if len(ran) == 1:
            # It was suspended, and another one came and finished the cell.
            with Claims(tmp_path, expiry=0.0).claim(chosen[0].folder) as other:
                workdir._claim._renew()
                other.end("done")
        workdir.log("linear", "official split", "search", (), [])
        return []

    assert work(chosen, tmp_path, logged, run=run) == []
    assert len(ran) == 1
    assert "another has it now" in logged[-1]
    assert "1 done, 0 running, 0 failed" in lines(chosen, tmp_path)[0]


def test_a_grid_in_a_bucket_goes_on_elsewhere(tmp_path, monkeypatch):
    root = f"memory://{uuid.uuid4().hex}"
    chosen = cells(probes="linear")

    def run(setup, workdir, **options):
        run_experiment(setup, workdir, **options)
        raise RuntimeError("the host dies")

    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "one"))
    assert len(work(chosen, root, run=run)) == 1
    assert folders.count_files(root, chosen[0].folder, "results") == 2

    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "two"))
    monkeypatch.setattr(loop, "train", None)
    assert work(chosen, root) == []
    assert "1 done" in lines(chosen, root)[0]
