"""Estimates how much scores would vary with other clips and seeds, by the bootstrap.

Where the logits of the test clips were saved, each draw takes as many recordings (or
sites or speakers: whatever clips were cut from) as there are, with replacement, and
scores the clips of those recordings. It also draws the seeds with replacement. Cells of
one test split share the draws, so that differences and ranks of encoders are compared
on the same clips. Without logits only the seeds are drawn.
"""

from __future__ import annotations

import hashlib
import io
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float, Num

from unmute_jax.console import progress
from unmute_jax.io import write_atomically
from unmute_jax.report.result_grid import RecordFile, ResultCell
from unmute_jax.results.predictions import Predictions, read_predictions

# Increased whenever the same file would give other draws.
VERSION = 1
# Draws times clips of one pass, few enough to stay in the cache of the processor.
_BLOCK = 1 << 22


class Resampler:
    """Draws the scores of cells, in points of 100.

    Attributes:
        resamples: The number R of draws.
    """

    def __init__(self, resamples: int, folder: pathlib.Path):
        """Sets the number of draws, and the folder in which scores are cached."""
        self.resamples = resamples
        self._folder = folder
        self._draws: dict[int, tuple[ResultCell, Float[np.ndarray, " R"]]] = {}
        self._counts: dict[str, Num[np.ndarray, "R B"]] = {}

    def prepare(self, cells: Iterable[ResultCell]) -> None:
        """Draws the scores of all cells, with a progress bar."""
        cells = list(cells)
        files = sum(len(cell.files) for cell in cells if basis(cell) == "clips")
        if not files:
            return
        with progress("resampling test clips", files, unit="records") as advance:
            for cell in cells:
                if basis(cell) == "clips":
                    self._drawn(cell, advance)
                    # Cells are ordered by data set: the draws of others can go.
                    if len(self._counts) > len(cell.folds):
                        self._counts.clear()

    def draws(self, cell: ResultCell) -> Float[np.ndarray, " R"]:
        """The score of a cell in each draw.

        It is constant if nothing can be drawn, and NaN in draws with a diverged seed.
        """
        return self._drawn(cell, lambda n: None)

    def _drawn(self, cell: ResultCell, advance: Callable[[int], None]) -> np.ndarray:
        if id(cell) not in self._draws:
            rng = _rng("seeds", cell.dataset, cell.encoder, cell.probe)
            if basis(cell) == "clips":
                per_seed = np.stack(
                    [self._of_seed(cell, seed, advance) for seed in cell.seeds]
                )
            else:
                per_seed = np.repeat(cell.scores[:, None], self.resamples, 1)
            chosen = rng.integers(len(per_seed), size=per_seed.shape)
            mean = np.take_along_axis(per_seed, chosen, 0).mean(0)
            # The cell is stored with the draws, so that no other can get its id.
            self._draws[id(cell)] = cell, mean
        return self._draws[id(cell)][1]

    def _of_seed(
        self, cell: ResultCell, seed: int, advance: Callable[[int], None]
    ) -> np.ndarray:
        """The mean over folds in each draw."""
        folds = []
        for file in cell.files:
            if file.record.seed == seed:
                folds.append(self._of_record(file))
                advance(1)
        return 100 * np.mean(folds, 0)

    def _of_record(self, file: RecordFile) -> np.ndarray:
        if not np.isfinite(file.record.test):
            # The logits of a diverged training order the clips at random.
            return np.full(self.resamples, np.nan)
        assert file.predictions is not None
        content = file.predictions.read_bytes()
        metric = file.record.metric
        key = (
            f"{VERSION} {self.resamples} {metric} {hashlib.sha256(content).hexdigest()}"
        )
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        if path.exists():
            return np.load(path)
        saved = read_predictions(file.predictions)
        score = accuracies if metric == "accuracy" else mean_average_precisions
        scores = score(saved.logits, saved.labels, self._counts_of(saved))
        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(path, buffer.getvalue())
        return scores

    def _counts_of(self, saved: Predictions) -> Num[np.ndarray, "R B"]:
        """How often each clip occurs in each draw."""
        text = "\n".join((*saved.ids, *saved.groups))
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self._counts:
            names, index = np.unique(np.asarray(saved.groups), return_inverse=True)
            n = len(names)
            drawn = _rng("clips", *names).multinomial(
                n, np.full(n, 1 / n), size=self.resamples
            )
            self._counts[key] = drawn.astype(np.float32)[:, index]
        return self._counts[key]


def basis(cell: ResultCell) -> str:
    """What can be drawn: "clips" (which includes seeds), "seeds", or "" for nothing."""
    if all(file.predictions is not None for file in cell.files):
        return "clips"
    return "seeds" if len(cell.seeds) > 1 else ""


def accuracies(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: Num[np.ndarray, "R B"],
) -> Float[np.ndarray, " R"]:
    """The accuracy in each draw, in which clip `b` occurs `counts[r, b]` times."""
    right = labels[np.arange(len(labels)), logits.argmax(1)] == 1
    return (counts[:, right].sum(1) / counts.sum(1)).astype(np.float64)


def mean_average_precisions(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: Num[np.ndarray, "R B"],
) -> Float[np.ndarray, " R"]:
    """The mAP in each draw, in which clip `b` occurs `counts[r, b]` times.

    It equals `metrics.mean_average_precision` of these clips. Classes without a
    positive clip in a draw are left out of the mean of that draw.
    """
    step = max(1, _BLOCK // len(labels))
    parts = []
    for start in range(0, len(counts), step):
        block = counts[start : start + step]
        each = [
            _average_precision(logits[:, c], labels[:, c] == 1, block)
            for c in range(labels.shape[1])
            if labels[:, c].any()
        ]
        known = np.isfinite(each)
        total = np.where(known, each, 0).sum(0)
        parts.append(total / np.maximum(known.sum(0), 1))
    return np.concatenate(parts)


def _average_precision(
    logits: np.ndarray, positive: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The average precision of one class `[R]`; NaN if no positive clip was drawn."""
    order = np.argsort(-logits, kind="stable")
    ranked, weights = logits[order], counts[:, order]
    (rows,) = np.nonzero(positive[order])
    # Clips with equal scores are retrieved together, at the position of the last.
    ends = np.searchsorted(-ranked, -ranked[rows], side="right") - 1
    positives = np.cumsum(weights[:, rows], 1)
    hits = positives[:, np.searchsorted(rows, ends, side="right") - 1]
    retrieved = np.cumsum(weights, 1)[:, ends]
    precision = np.divide(hits, retrieved, out=np.zeros_like(hits), where=retrieved > 0)
    total = positives[:, -1].astype(np.float64)
    summed = (weights[:, rows] * precision).sum(1, dtype=np.float64)
    return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _rng(*names: str) -> np.random.Generator:
    """A generator that depends on the names alone."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
