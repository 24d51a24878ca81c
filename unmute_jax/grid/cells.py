"""Describes a grid: encoders x data sets x probes, one experiment per cell.

An `@` after a name adds a detail:

    encoders    eat,eat@untrained,beats@/weights/BEATs_iter3.pt     its weights
    datasets    esc50,fsd50k@/data/FSD50K                           where its files are
    probes      linear,protobin@prototypes_per_class=5              its options

Exported tokens of several data sets share a name, such as `tokens:exported/{dataset}`,
in which the placeholder stands for the name of each data set.

All other settings are those of an experiment. They are the same in all cells, except
for those that `for_datasets` changes for a data set.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from unmute_jax.config import Experiment, ProbeOptions, check_options
from unmute_jax.datasets import list_datasets
from unmute_jax.encoders import for_dataset, list_encoders
from unmute_jax.errors import InputError, unknown_name

# Config files import the default grid from here.
from unmute_jax.grid.axes import REPLACED
from unmute_jax.grid.axes import default_grid as default_grid
from unmute_jax.probes import Probe, make_probe, probe_options

# Names that are paths, in which an @ has no meaning.
_PLACES = ("folder:", "csv:", "annotations:", "hf:", "wds:", "tokens:")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One encoder, one data set, one probe.

    Attributes:
        name: Encoder, data set and probe, for people and for patterns.
        settings: The settings of the experiment.
        encoder: The encoder as it is written in the grid.
        dataset: The data set as it is written in the grid.
        probe: The probe as it is written in the grid.
    """

    name: str
    settings: Experiment
    encoder: str
    dataset: str
    probe: str

    @functools.cached_property
    def folder(self) -> str:
        """The name of the cell's folder, which identifies its settings."""
        return f"{self.name}-{self.settings.digest()}"

    @property
    def pair(self) -> tuple[str, str]:
        """Encoder and data set, whose tokens are computed once for all probes."""
        return self.encoder, self.dataset

    @property
    def is_fitted(self) -> bool:
        """Whether the probe is fitted in one step, without trials."""
        return _default_probe(self.settings.probes).is_fitted


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The axes of a grid and the settings of its experiments.

    Attributes:
        name: Name of the folder in `runs/`; grids with the same name share their cells.
        encoders: The encoders, each with its detail.
        datasets: The data sets, each with its detail.
        probes: The probes, each with its detail.
        shared: Settings of all experiments.
        for_datasets: Settings that differ for a data set, by its name.
    """

    name: str
    encoders: tuple[str, ...]
    datasets: tuple[str, ...]
    probes: tuple[str, ...]
    shared: dict[str, Any]
    for_datasets: dict[str, dict[str, Any]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Grid:
        """Builds a grid from a nested mapping.

        Args:
            values: Options by name; those of a nested record are a mapping.

        Raises:
            InputError: A key is unknown or a value is not allowed.
        """
        own = {f.name for f in dataclasses.fields(cls)} - {"shared"}
        if missing := sorted(own - values.keys()):
            raise InputError(
                f"this config has no {missing[0]}: it describes one experiment, which "
                "`unmute train` runs"
            )
        if given := [key for key in REPLACED if key in values and key not in own]:
            raise unknown_name("config key", f"config.{given[0]}", own)
        for name, changes in values["for_datasets"].items():
            if not isinstance(changes, Mapping):
                raise InputError(
                    f"config.for_datasets.{name}={changes!r}: must be options by name"
                )
        grid = cls(
            name=values["name"],
            encoders=_names(values, "encoders"),
            datasets=_names(values, "datasets"),
            probes=_names(values, "probes"),
            shared={k: v for k, v in values.items() if k not in own},
            for_datasets=dict(values["for_datasets"]),
        )
        # A mistake must not wait for its cell, which may come after a night's work.
        datasets = [*grid.datasets, *grid.for_datasets]
        _check_known("encoder", grid.encoders, list_encoders())
        _check_known("dataset", datasets, list_datasets())
        # Options that no probe of the grid reads are checked, too.
        for name in datasets:
            Experiment.from_dict(grid._settings_for(_split(name)[0]))
        grid.cells()
        return grid

    def default_workdir(self) -> str:
        """Returns the folder of all cells."""
        return f"runs/{self.name}"

    def cells(self) -> list[Cell]:
        """Returns all cells, each once; those that share tokens follow each other."""
        return list(self._cells)

    @functools.cached_property
    def _cells(self) -> tuple[Cell, ...]:
        cells: dict[str, Cell] = {}
        for encoder in self.encoders:
            for dataset in self.datasets:
                for probe in self.probes:
                    cell = self._cell(encoder, dataset, probe)
                    cells.setdefault(cell.folder, cell)
        return tuple(cells.values())

    def _settings_for(self, dataset: str) -> dict[str, Any]:
        """Returns the settings of all experiments with a data set."""
        return _merged(self.shared, self.for_datasets.get(dataset, {}))

    def _cell(self, encoder: str, dataset: str, probe: str) -> Cell:
        model, weights = _split(encoder)
        data, place = _split(dataset)
        model = for_dataset(model, data)
        name, *options = probe.split("@")
        values = self._settings_for(data)
        given = values.get("probe_options", {}) | _options(name, options)
        # Options that the probe does not read, or whose value is the default, must not
        # make another cell of it.
        default, known = _default_probe(name), probe_options(name)
        wanted = {k: v for k, v in given.items() if k in known and v is not None}
        changed = {k: v for k, v in wanted.items() if v != getattr(default, k)}
        given = {k: changed.get(k) for k in given}
        values |= {
            "encoder": model,
            "weights": weights,
            "dataset": data,
            "data_dir": place,
            "probes": name,
            "probe_options": given,
        }
        parts = (
            model + (f"@{weights.split('/')[-1]}" if weights else ""),
            data,
            name + "".join(f"@{k}={v}" for k, v in given.items() if v is not None),
        )
        settings = Experiment.from_dict(values)
        # A default that was left out may contradict another option.
        make_probe(name, num_classes=1, **wanted)
        return Cell(
            name="-".join(re.sub(r"[^A-Za-z0-9+.@=_-]+", "_", part) for part in parts),
            settings=settings,
            encoder=encoder,
            dataset=dataset,
            probe=probe,
        )


def chosen(cells: list[Cell], only: list[str], skip: list[str]) -> list[Cell]:
    """Returns the cells that two lists of patterns choose by name.

    Args:
        cells: The cells of a grid.
        only: Patterns of which a cell must match one; none chooses all cells.
        skip: Patterns of which a cell must match none.

    Raises:
        InputError: A pattern matches no cell.
    """
    for pattern in (*only, *skip):
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise InputError(
                f"no cell is called {pattern!r}: names are as --status shows them, "
                f"such as {cells[0].name!r}; patterns are such as "
                f"'{_pattern(cells[0])}'"
            )

    def matches(cell: Cell, patterns: list[str]) -> bool:
        return any(fnmatchcase(cell.name, pattern) for pattern in patterns)

    wanted = [c for c in cells if not only or matches(c, only)]
    return [c for c in wanted if not matches(c, skip)]


def _pattern(cell: Cell) -> str:
    return f"{cell.encoder.split('@')[0]}-*"


@functools.cache
def _default_probe(probe: str) -> Probe:
    """Returns a probe with its default options."""
    return make_probe(probe, num_classes=1)


def _names(values: Mapping[str, Any], axis: str) -> tuple[str, ...]:
    if not isinstance(values[axis], str):
        raise InputError(f"config.{axis}={values[axis]!r}: must be of type str")
    names = tuple(n.strip() for n in values[axis].split(",") if n.strip())
    if not names:
        raise InputError(f"config.{axis} is empty: name at least one")
    return names


def _check_known(kind: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Refuses an unknown name. Names with a colon are places, or modules of users."""
    for name in names:
        if ":" not in name and (bare := _split(name)[0]) not in known:
            raise unknown_name(kind, bare, known)


def _split(name: str) -> tuple[str, str]:
    """Returns `("eat", "untrained")` for "eat@untrained"."""
    if name.startswith(_PLACES):
        return name, ""
    before, _, after = name.partition("@")
    return before, after


def _options(probe: str, given: list[str]) -> dict[str, Any]:
    """Returns `{"prototypes_per_class": 5}` for ["prototypes_per_class=5"]."""
    known, options = probe_options(probe), dict[str, Any]()
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"{probe}@{text}: options of a probe are written {probe}@OPTION=VALUE, "
                f"several of them {probe}@OPTION=VALUE@OPTION=VALUE"
            )
        if key not in known:
            raise unknown_name(f"option of probe {probe!r}", key, known)
        try:
            plain = value.lower() if value in ("True", "False") else value
            parsed = json.loads(plain)
            # The number of a layer is text, as its option also has names as values.
            is_text = key == "layers" and isinstance(parsed, int)
            options[key] = value if is_text else parsed
        except (ValueError, RecursionError):
            options[key] = value
    check_options(ProbeOptions, options, f"{probe}@")
    return options


def _merged(shared: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of `shared` with the values of `changes`, nested ones too."""
    merged = dict(shared)
    for key, value in changes.items():
        nested = isinstance(value, Mapping)
        merged[key] = _merged(shared.get(key, {}), value) if nested else value
    return merged
