"""The default grid has the settings of an experiment without those of its cells."""

from unmute_jax.config import default_config
from unmute_jax.grid.axes import REPLACED, Axes, default_grid
from unmute_jax.grid.cells import Grid


def test_axes_take_the_place_of_the_settings_that_cells_have():
    grid, experiment = default_grid().to_dict(), default_config().to_dict()
    axes = {"encoders", "datasets", "probes", "name", "for_datasets"}
    assert grid.keys() == experiment.keys() - set(REPLACED) | axes
    assert Grid.from_dict(grid).probes == ("linear", "protobin")
    assert grid["encoders"] == Axes().encoders
