"""Grids of small cells made of tones, and of cells whose run is replaced."""

import pytest

from tests.training import fakes
from unmute_jax.errors import InputError
from unmute_jax.grid import run_cell
from unmute_jax.grid.cells import Grid, default_grid


@pytest.fixture
def fake_setup(monkeypatch):
    """Cells are made of tones; the encoder `sslam` has no weights."""

    def open_source(settings):
        if settings.encoder == "sslam":
            raise InputError("sslam: no weights")

    def prepare(settings):
        open_source(settings)
        return fakes.make_setup(settings)

    monkeypatch.setattr(run_cell, "open_source", open_source)
    monkeypatch.setattr(run_cell, "open_dataset", lambda settings: None)
    monkeypatch.setattr(run_cell, "prepare", prepare)


def cells(**values):
    config = default_grid()
    config.encoders, config.datasets = "logmel", "urban"
    config.epochs, config.batch_size, config.seeds = 1, 16, 2
    config.optimizer.learning_rates = (0.1,)
    for key, value in values.items():
        config[key] = value
    return Grid.from_dict(config.to_dict()).cells()
