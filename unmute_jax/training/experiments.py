"""Trains the probes of an experiment, from its config to the records of scores."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.config_files import load_experiment
from unmute_jax.results import Record
from unmute_jax.training.run import run_experiment
from unmute_jax.training.setup import prepare_together
from unmute_jax.training.workdir import Workdir, alone_in


def train(
    config: str | os.PathLike[str] | Mapping[str, Any] | ConfigDict | Experiment,
    *,
    workdir: str | os.PathLike[str] | None = None,
    explain: bool = False,
) -> list[Record]:
    """Trains the probes of an experiment, and scores each once on the test split.

        records = uj.train("quickstart")
        settings = uj.load_experiment("bpp_esc50")
        records = uj.train(dataclasses.replace(settings, seeds=3), workdir="runs/three")

    This is what `unmute train` does: the encoder runs once over the data set, its
    tokens are cached on disk, several learning rates are trained side by side, the
    validation split chooses one of them, and the chosen one is trained with all seeds.
    The same call continues a run that was stopped, and only reads the records of a
    finished one.

    Args:
        config: The experiment: the name or the path of a config, its settings, or an
            `Experiment` (see `load_experiment`).
        workdir: The folder of the run, with records, trained probes, predictions and
            plots. By default a folder in `runs` that is named after the settings.
        explain: Whether to print why tokens of an earlier run could not be used; only
            after `set_verbose`.

    Returns:
        One record per probe, protocol (fold) and seed. Scores are shares, from 0 to 1.

    Raises:
        InputError: A setting is wrong; data or weights are missing, or do not fit
            together; or the folder holds another run, or one that another process
            is working on.
    """
    settings = load_experiment(config)
    folder = settings.default_workdir() if workdir is None else workdir
    setup = prepare_together(settings)
    with alone_in(folder):
        run = Workdir(folder, settings)
        records = run_experiment(setup, run, explain=explain)
        if distributed.is_writer():
            _draw_plots(records, run, settings.probe_names)
    return records


def sweep(
    config: str | os.PathLike[str] | Mapping[str, Any] | ConfigDict | Experiment,
    *,
    workdir: str | os.PathLike[str] | None = None,
) -> list[Record]:
    """Searches learning rates and weight decays as in the paper, then trains the best.

    This is `train` with `search="sweep"`, and what `unmute sweep` does: 25 trials of a
    Sobol sequence and 25 that TPE proposes, of which the worse are stopped early.

    Args:
        config: The experiment, as for `train`.
        workdir: The folder of the run, as for `train`.

    Returns:
        One record per probe, protocol (fold) and seed.

    Raises:
        InputError: As for `train`.
    """
    settings = dataclasses.replace(load_experiment(config), search="sweep")
    return train(settings, workdir=workdir)


def _draw_plots(
    records: Sequence[Record], workdir: Workdir, names: tuple[str, ...]
) -> None:
    """Draws the plots of a run where they are not up to date."""
    curves = workdir.plots / "training_curves.png"
    bars = workdir.plots / "per_class_ap.png"
    if _are_current([curves, bars], workdir):
        return
    from unmute_jax.results import plots  # Matplotlib takes a while to import.

    plots.training_curves(curves, workdir.metrics, list(records), names)
    plots.per_class_scores(bars, list(records), names)


def _are_current(plots: list[pathlib.Path], workdir: Workdir) -> bool:
    """Whether all plots are there, and newer than the metrics and records they show."""
    shown = [*workdir.path.glob("metrics.jsonl"), *workdir.results.glob("*.json")]
    newest = max(path.stat().st_mtime_ns for path in shown)
    return all(p.exists() and p.stat().st_mtime_ns >= newest for p in plots)
