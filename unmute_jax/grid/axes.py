"""The axes of a grid as a config sets them; importing it is quick, as for `--help`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from unmute_jax.config import default_config

# Options of an experiment that a grid sets for each cell.
REPLACED = ("dataset", "data_dir", "encoder", "weights", "probes")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The axes of the default grid. The comments are what `--help` says about them."""

    # Encoders, separated by commas. What follows an @ is the weight file of one, or
    # "untrained": "eat,eat@untrained".
    encoders: str = "logmel"
    # Data sets, separated by commas. What follows an @ is where the files of one are:
    # "esc50,fsd50k@/data/FSD50K".
    datasets: str = "esc_mix"
    # Probes, separated by commas. What follows an @ is an option of one, and several
    # may follow: "linear,protobin@prototypes_per_class=5".
    probes: str = "linear,protobin"
    # Name of the folder in `runs/`. Grids with the same name share their cells.
    name: str = "benchmark"


def default_grid() -> Any:
    """Returns the default grid as a locked `ConfigDict`, for config files."""
    config = default_config()
    with config.unlocked():
        for key in REPLACED:
            del config[key]
        for key, value in dataclasses.asdict(Axes()).items():
            config[key] = value
        config.for_datasets = ConfigDict()
    return config.lock()
