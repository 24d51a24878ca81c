"""From which score on a class counts as heard."""

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
from unmute_jax.inference.recordings.listener import scores_of
from unmute_jax.metrics.ranking import best_thresholds
from unmute_jax.results.trained import TrainedProbe


def read_thresholds(
    path: str | os.PathLike[str], classes: Sequence[str], default: float
) -> Float[np.ndarray, "C"]:
    """Thresholds from a csv with the columns `class` and `threshold`.

    Classes that it does not name get the `default`.

    Raises:
        InputError: The file is not such a table.
    """
    path = pathlib.Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as thresholds: {error}") from None
    found = np.full(len(classes), default, np.float32)
    for row in rows:
        name, value = row.get("class"), row.get("threshold")
        if name is None or value is None:
            raise InputError(f"{path}: needs the columns class and threshold")
        if name not in classes:
            raise unknown_name(f"class in {path}", name, classes)
        found[list(classes).index(name)] = check_threshold(value, f"{path}: {name}")
    return found


def check_threshold(value: str | float, where: str) -> float:
    """`value` as a number from 0 to 1; `where` begins the error."""
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
    """The thresholds with the best F1 scores on the run's validation clips.

    Classes without a positive clip there get the `default`.

    Raises:
        InputError: There are no such clips, or the data set is not there.
    """
    stores = stores_of(trained, encoder, "validation")
    apply = jax.jit(trained.apply)
    logits = [
        np.asarray(apply(trained.params, inputs))[: len(rows)]
        for _, rows, inputs in batches_of(trained, stores, "thresholds")
    ]
    scores = scores_of(np.concatenate(logits), trained.task)
    found = best_thresholds(scores, np.concatenate([s.labels for s in stores]))
    return np.where(np.isnan(found), np.float32(default), found)
