"""Every config trains for one step, on miniatures of its data and plain patches."""

import dataclasses
import functools
import importlib
import pathlib

import pytest

from tests.datasets.conftest import esc50
from tests.datasets.miniatures import MINIATURES
from unmute_jax import distributed
from unmute_jax.config import DatasetOptions, Experiment
from unmute_jax.datasets import dataset_infos, list_datasets
from unmute_jax.encoders import list_encoders
from unmute_jax.grid.cells import Grid
from unmute_jax.training import plan
from unmute_jax.training.setup import prepare
from unmute_jax.training.sharding import Sharding

CONFIGS = sorted(p.stem for p in pathlib.Path("configs").glob("[!_]*.py"))
GRID_CONFIGS = ("example_grid", "paper", "whisper_grid")
GRIDS = {
    "general": "sslam-urban-conv",
    "single_label": "beats-esc50-simpool",
    "birds": "eat-hsn_64shot-linear",
    "prototypes": "eat-urban-protofloat@prototypes_per_class=5",
    "all": "eat+-fsd50k-protobin",
}


def config_of(name, *arguments):
    return importlib.import_module(f"configs.{name}").get_config(*arguments).to_dict()


@functools.cache
def grid_of(table):
    return Grid.from_dict(config_of("paper", table))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Where the miniature of a data set is."""
    made = {}

    def place(name):
        if name == "esc_mix":
            return ""
        if name not in made:
            folder = tmp_path_factory.mktemp("files")
            is_esc50 = name == "esc50"
            made[name] = (
                esc50(folder).root if is_esc50 else MINIATURES[name].make(folder)
            )
        return str(made[name])

    return place


def one_step(settings, places):
    """Opens the data, and trains every probe on a batch of zeros."""
    options = settings.dataset_options
    if settings.dataset == "esc_mix":
        options = DatasetOptions(train_clips=8, validation_clips=6, test_clips=6)
    made = prepare(
        dataclasses.replace(
            settings,
            data_dir=places(settings.dataset),
            dataset_options=options,
            encoder="logmel",
            weights="",
            batch_size=4,
        )
    )
    info = {i.name: i for i in dataset_infos()}[settings.dataset]
    assert made.metric == info.metric
    sharding = Sharding(distributed.make_mesh(1))
    for probe in made.probes.values():
        seconds, parameters = plan.step_seconds(made, probe, sharding, 1)
        assert seconds > 0
        assert parameters > len(made.dataset.classes)


@pytest.mark.parametrize("name", [n for n in CONFIGS if n not in GRID_CONFIGS])
def test_an_experiment_takes_a_step(name, places):
    settings = Experiment.from_dict(config_of(name))
    assert settings.encoder in list_encoders()
    one_step(settings, places)


@pytest.mark.parametrize("table", GRIDS)
def test_a_cell_of_each_table_takes_a_step(table, places):
    (cell,) = (c for c in grid_of(table).cells() if c.name == GRIDS[table])
    assert cell.settings.search == "sweep"
    one_step(cell.settings, places)


def test_the_tables_of_the_paper_have_all_their_cells():
    sizes = {table: len(grid_of(table).cells()) for table in GRIDS}
    # Encoders x data sets x probes, as in sections 3, 6 and 7 of the paper.
    assert sizes == {
        "general": 6 * 5 * 11,
        "single_label": 6 * 2 * 11,
        "birds": 6 * 7 * 11,
        "prototypes": 1 * 2 * 15,
        "all": 9 * 14 * 12,
    }
    everything = {c.folder for c in grid_of("all").cells()}
    for table in ("general", "single_label", "birds"):
        assert {c.folder for c in grid_of(table).cells()} < everything
    for cell in grid_of("all").cells():
        assert cell.settings.encoder in list_encoders()
        assert cell.settings.dataset in list_datasets()


def test_audioset_has_ten_prototypes_per_class_and_birds_have_mixed_copies():
    cells = {c.name: c.settings for c in grid_of("all").cells()}
    few = cells["eat-as20k-protobin@prototypes_per_class=10"]
    assert few.probe_options.prototypes_per_class == 10
    assert cells["eat-hsn_64shot-protobin"].dataset_options.mixup == 5
    assert cells["eat-urban-protobin"].dataset_options.mixup is None
    sizes = {c.settings.probe_options.prototypes_per_class or 20
             for c in grid_of("prototypes").cells()}  # fmt: skip
    assert sizes == {1, 5, 10, 20, 40}


def test_a_mistyped_table_is_told():
    with pytest.raises(ValueError, match="did you mean 'general'"):
        config_of("paper", "genera")
