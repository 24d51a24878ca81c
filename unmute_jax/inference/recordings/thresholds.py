"""The scores from which on classes count as detected."""

from __future__ import annotations

import csv
import math
import os
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.inference.clips_of_run import batches_of, stores_of
from unmute_jax.inference.recordings.predictor import scores_of
from unmute_jax.metrics.ranking import best_thresholds
from unmute_jax.results.trained import TrainedProbe


def read_thresholds(
    path: str | os.PathLike[str], classes: Sequence[str], default: float
) -> Float[np.ndarray, "C"]:
    """Reads thresholds from a CSV file with the columns `class` and `threshold`.

    Args:
        path: The file.
        classes: The names of all classes.
        default: The threshold of classes that the file does not contain.

    Raises:
        InputError: The file is not such a table.
    """
    path = pathlib.Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as thresholds: {error}") from None
    thresholds = np.full(len(classes), default, np.float32)
    for row in rows:
        name, value = row.get("class"), row.get("threshold")
        if name is None or value is None:
            raise InputError(f"{path}: needs the columns class and threshold")
        if name not in classes:
            raise unknown_name("class", name, classes, path)
        index = list(classes).index(name)
        thresholds[index] = check_threshold(value, f"{path}: {name}")
    return thresholds


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
    trained: TrainedProbe, encoder: Encoder, default: float
) -> Float[np.ndarray, "C"]:
    """Finds the thresholds with the best F1 score on the run's validation clips.

    Args:
        trained: The trained probe.
        encoder: Its encoder.
        default: The threshold of classes without a positive validation clip.

    Raises:
        InputError: The run has no validation clips, or its data set is missing.
    """
    stores = stores_of(trained, encoder, "validation")
    apply = jax.jit(trained.apply)
    logits = [
        np.asarray(apply(trained.params, inputs))[: len(rows)]
        for _, rows, inputs in batches_of(trained, stores, "thresholds")
    ]
    scores = scores_of(np.concatenate(logits), trained.task)
    best = best_thresholds(scores, np.concatenate([s.labels for s in stores]))
    return np.where(np.isnan(best), np.float32(default), best)
