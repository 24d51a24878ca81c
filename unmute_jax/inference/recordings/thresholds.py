"""The scores from which on classes count as detected."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int, Num

from unmute_jax.config import Experiment
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.names import listed
from unmute_jax.datasets.tables import csv_text, read_table
from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.inference.clips_of_run import batches_of, stores_of
from unmute_jax.inference.recordings.predictor import scores_of
from unmute_jax.io import write_atomically
from unmute_jax.metrics.decisions import Rates, count_decisions, rates
from unmute_jax.metrics.frames import frame_labels, median_filter
from unmute_jax.metrics.ranking import best_thresholds
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.reader import TokenStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Thresholds that were chosen on validation clips, and what they did there.

    Attributes:
        thresholds: The threshold of each class.
        positives: The number of validation clips that have each class.
        decisions: The number of validation clips, or of their time steps if the probe
            was trained on time steps.
        how: How each threshold came about: "validation", "lowest" if the chosen one was
            lower than allowed, or "default" if the class has too few clips.
        rates: Precision, recall and F1 of each class at its threshold.
    """

    thresholds: Float[np.ndarray, "C"]
    positives: Int[np.ndarray, "C"]
    decisions: int
    how: tuple[str, ...]
    rates: Rates


def read_thresholds(
    path: str | os.PathLike[str], classes: Sequence[str], default: float
) -> Float[np.ndarray, "C"]:
    """Reads thresholds from a table with the columns `class` and `threshold`.

    Args:
        path: The file, in which commas, semicolons or tabs separate the columns.
        classes: The names of all classes.
        default: The threshold of classes that the file does not contain.

    Raises:
        InputError: The file is not such a table, or a class has two thresholds.
    """
    path = pathlib.Path(path).expanduser()
    lines = read_table(
        Folder(path.parent), path.name, ("class", "threshold"), delimiter=None
    )
    found: dict[str, float] = {}
    for line in lines:
        name, value = line["class"], line["threshold"]
        if name not in classes:
            raise unknown_name("class", name, classes, line.where)
        if line.has_decimal_commas:
            value = value.replace(",", ".")
        threshold = check_threshold(value, f"{line.where}: {name}")
        if found.setdefault(name, threshold) != threshold:
            raise InputError(
                f"{line.where}: {name} has the threshold {threshold:g} here and "
                f"{found[name]:g} in an earlier line"
            )
    return np.array([found.get(name, default) for name in classes], np.float32)


def check_threshold(value: str | float, where: str) -> float:
    """Converts a threshold to a number.

    Args:
        value: The threshold.
        where: The place of the threshold, for the error message.

    Raises:
        InputError: It is not a number from 0 to 1.
    """
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(f"{where}: a threshold is a number from 0 to 1, not {value}")
    return number


def validation_thresholds(
    trained: TrainedProbe,
    encoder: Encoder,
    default: float,
    *,
    beta: float = 1.0,
    least_positives: int = 5,
    lowest: float = 0.05,
) -> Chosen:
    """Finds the thresholds with the best F score on the run's validation clips.

    For a probe that was trained on time steps, they have the best F score over the time
    steps of these clips, after the median filter of the run.

    Few positive clips say little: a single one with a low score would give a threshold
    that nearly everything reaches.

    Args:
        trained: The trained probe.
        encoder: Its encoder.
        default: The threshold of classes with too few positive validation clips.
        beta: The weight of recall against precision in the F score.
        least_positives: The number of positive clips from which on a class has a
            threshold of its own.
        lowest: The lowest threshold that may be chosen.

    Raises:
        InputError: The run has no validation clips, or its data set is missing.
    """
    stores = stores_of(trained, encoder, "validation")
    apply = jax.jit(trained.apply_frames if trained.is_framewise else trained.apply)
    logits = [
        np.asarray(apply(trained.params, inputs))[: len(rows)]
        for _, rows, inputs in batches_of(trained, stores, "thresholds")
    ]
    labels = np.concatenate([store.labels for store in stores])
    positives = (labels > 0).sum(0)
    if trained.is_framewise:
        scores, labels = _of_steps(trained, stores, np.concatenate(logits))
    else:
        scores = scores_of(np.concatenate(logits), trained.task)
    return choose(
        scores,
        labels,
        positives,
        default,
        beta=beta,
        least_positives=least_positives,
        lowest=lowest,
    )


def choose(
    scores: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    positives: Int[np.ndarray, "C"],
    default: float,
    *,
    beta: float,
    least_positives: int,
    lowest: float,
) -> Chosen:
    """Chooses thresholds by scores and labels; see `validation_thresholds`.

    Args:
        scores: The scores of validation clips or of their time steps.
        labels: Their labels.
        positives: The number of validation clips with each class.
        default: See `validation_thresholds`.
        beta: See `validation_thresholds`.
        least_positives: See `validation_thresholds`.
        lowest: See `validation_thresholds`.
    """
    best = best_thresholds(scores, labels, beta=beta)
    is_known = (positives >= least_positives) & ~np.isnan(best)
    thresholds = np.where(is_known, np.maximum(best, lowest), default)
    thresholds = thresholds.astype(np.float32)
    counts = count_decisions(scores >= thresholds, labels > 0)
    how = [
        "default" if not known else "validation" if value >= lowest else "lowest"
        for known, value in zip(is_known, best, strict=True)
    ]
    return Chosen(
        thresholds=thresholds,
        positives=positives,
        decisions=len(scores),
        how=tuple(how),
        rates=rates(counts),
    )


def _of_steps(
    trained: TrainedProbe,
    stores: Sequence[TokenStore],
    logits: Float[np.ndarray, "n T C"],
) -> tuple[Float[np.ndarray, "N C"], Num[np.ndarray, "N C"]]:
    """The scores and the labels of all valid time steps of the validation clips."""
    frames = Experiment.from_dict(trained.settings).frames
    labels = np.concatenate([frame_labels(store, frames.rule) for store in stores])
    masks = np.concatenate([store.mask for store in stores])
    scores = median_filter(
        np.asarray(jax.nn.sigmoid(logits)),
        masks,
        frames.median_seconds,
        trained.geometry.seconds_per_step,
    )
    return scores[masks], labels[masks]


def write_thresholds(
    folder: pathlib.Path,
    classes: Sequence[str],
    thresholds: Float[np.ndarray, "C"],
    chosen: Chosen | None = None,
) -> None:
    """Writes `thresholds.csv` in the form that `read_thresholds` reads.

    Args:
        folder: The folder to write to.
        classes: The names of the classes.
        thresholds: The threshold of each class.
        chosen: What is known about them, where they were chosen on validation clips.
    """
    rows: list[list[str]] = [["class", "threshold"]]
    rows += [[c, f"{t:.6g}"] for c, t in zip(classes, thresholds, strict=True)]
    if chosen is not None:
        rows[0] += ["chosen_by", "decisions", "positives", "precision", "recall", "f1"]
        for c, row in enumerate(rows[1:]):
            values = (float(of_class[c]) for of_class in chosen.rates)
            row += [chosen.how[c], str(chosen.decisions), str(chosen.positives[c])]
            row += ["" if math.isnan(value) else f"{value:.4f}" for value in values]
    write_atomically(folder / "thresholds.csv", csv_text(rows))


def notes_on(
    chosen: Chosen, classes: Sequence[str], default: float, least_positives: int
) -> list[str]:
    """Returns notes that name the classes without a threshold of their own."""
    few = [
        f"{name} ({n})"
        for name, n, how in zip(classes, chosen.positives, chosen.how, strict=True)
        if how == "default"
    ]
    if not few:
        return []
    return [
        f"classes with fewer than {least_positives} positive validation clips have the "
        f"threshold {default:g}: {listed(few)}"
    ]
