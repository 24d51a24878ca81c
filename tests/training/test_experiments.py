"""From a config to records in one call."""

import dataclasses

import pytest

from tests.training.fakes import make_setup, settings
from unmute_jax.errors import InputError
from unmute_jax.training import experiments, setup


@pytest.fixture
def prepared(monkeypatch):
    """The settings of every experiment that was opened, each with fake data."""
    opened = []

    def prepare(given):
        opened.append(given)
        return make_setup(given)

    monkeypatch.setattr(setup, "prepare", prepare)
    return opened


def test_a_run_is_trained_once_and_then_read(prepared, tmp_path):
    given = settings(epochs=1, probes="linear", seeds=1)
    (record,) = experiments.train(given, workdir=tmp_path)
    assert record.path.parent == tmp_path / "results"
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert {"training_curves.png", "per_class_ap.png"} <= set(files)
    assert experiments.train(given, workdir=tmp_path) == [record]
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert again == files
    assert prepared == [given, given]


def test_without_a_workdir_the_run_is_named_after_its_settings(
    prepared, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = settings(epochs=1, probes="linear", seeds=1)
    experiments.train(given)
    assert (tmp_path / given.default_workdir() / "results").is_dir()


def test_a_sweep_is_a_training_with_that_search(prepared, tmp_path):
    given = settings(epochs=1, probes="linear", seeds=1)
    short = dataclasses.replace(given.sweep, sobol=2, tpe=0, halvings=0)
    given = dataclasses.replace(given, sweep=short)
    (record,) = experiments.sweep(given, workdir=tmp_path)
    assert record.settings["search"] == "sweep"
    assert len(record.search) == 2
    assert prepared == [dataclasses.replace(given, search="sweep")]


def test_a_wrong_setting_is_refused_before_anything_is_opened(prepared, tmp_path):
    with pytest.raises(InputError, match=r"config\.epochs=0"):
        experiments.train({"epochs": 0}, workdir=tmp_path)
    assert not prepared
    assert not list(tmp_path.iterdir())


def test_what_fails_in_the_writer_is_raised(monkeypatch):
    def fail(given):
        raise InputError("no data")

    monkeypatch.setattr(setup, "prepare", fail)
    with pytest.raises(InputError, match="no data"):
        setup.prepare_together(settings())
