"""How far scores would move with other clips and other seeds: the bootstrap.

Where the logits of the test clips were kept, each draw takes as many recordings (or
sites, speakers: whatever clips were cut from) as there are, some of them several times,
and scores the clips of what it drew; and it draws the seeds. Cells of one test split
share the draws, so that differences and ranks of encoders are compared clip by clip.
Without logits only seeds are drawn.
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
from unmute_jax.report.grid import Cell, Found
from unmute_jax.results.predictions import Predictions, read_predictions

# Raised when the same file would give other draws.
VERSION = 1
# Draws of one pass: little enough to stay in fast memory.
_BLOCK = 1 << 22


class Resampler:
    """Draws of the scores of cells, in points of 100.

    Attributes:
        resamples: R, how many draws.
    """

    def __init__(self, resamples: int, kept: pathlib.Path):
        """Draws `resamples` times; what takes long is kept in the folder `kept`."""
        self.resamples = resamples
        self._kept = kept
        self._draws: dict[int, tuple[Cell, Float[np.ndarray, " R"]]] = {}
        self._counts: dict[str, Num[np.ndarray, "R B"]] = {}

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Draws all cells; tells how it goes where that takes long."""
        cells = list(cells)
        files = sum(len(cell.found) for cell in cells if basis(cell) == "clips")
        if not files:
            return
        with progress("drawing test clips again", files, unit="records") as advance:
            for cell in cells:
                if basis(cell) == "clips":
                    self._drawn(cell, advance)
                    # Cells come data set by data set: only its own draws are kept.
                    if len(self._counts) > len(cell.folds):
                        self._counts.clear()

    def draws(self, cell: Cell) -> Float[np.ndarray, " R"]:
        """The score of a cell in each draw; constant where nothing can be drawn."""
        return self._drawn(cell, lambda n: None)

    def _drawn(self, cell: Cell, advance: Callable[[int], None]) -> np.ndarray:
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
            # The cell is held, so that no other can get its id.
            self._draws[id(cell)] = cell, mean
        return self._draws[id(cell)][1]

    def _of_seed(
        self, cell: Cell, seed: int, advance: Callable[[int], None]
    ) -> np.ndarray:
        """The mean over folds."""
        folds = []
        for found in cell.found:
            if found.record.seed == seed:
                folds.append(self._of_record(found))
                advance(1)
        return 100 * np.mean(folds, 0)

    def _of_record(self, found: Found) -> np.ndarray:
        assert found.predictions is not None
        content = found.predictions.read_bytes()
        metric = found.record.metric
        key = (
            f"{VERSION} {self.resamples} {metric} {hashlib.sha256(content).hexdigest()}"
        )
        path = self._kept / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        if path.exists():
            return np.load(path)
        told = read_predictions(found.predictions)
        score = accuracies if metric == "accuracy" else mean_average_precisions
        scores = score(told.logits, told.labels, self._counts_of(told))
        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(path, buffer.getvalue())
        return scores

    def _counts_of(self, told: Predictions) -> Num[np.ndarray, "R B"]:
        """How often each clip is in each draw."""
        key = hashlib.sha256("\n".join((*told.ids, *told.groups)).encode()).hexdigest()
        if key not in self._counts:
            names, index = np.unique(np.asarray(told.groups), return_inverse=True)
            n = len(names)
            drawn = _rng("clips", *names).multinomial(
                n, np.full(n, 1 / n), size=self.resamples
            )
            self._counts[key] = drawn.astype(np.float32)[:, index]
        return self._counts[key]


def basis(cell: Cell) -> str:
    """What can be drawn of a cell: "clips" (and seeds), "seeds", or nothing: ""."""
    if all(found.predictions is not None for found in cell.found):
        return "clips"
    return "seeds" if len(cell.seeds) > 1 else ""


def accuracies(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: Num[np.ndarray, "R B"],
) -> Float[np.ndarray, " R"]:
    """The accuracy where clip `b` is there `counts[r, b]` times."""
    right = labels[np.arange(len(labels)), logits.argmax(1)] == 1
    return (counts[:, right].sum(1) / counts.sum(1)).astype(np.float64)


def mean_average_precisions(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: Num[np.ndarray, "R B"],
) -> Float[np.ndarray, " R"]:
    """The mAP where clip `b` is there `counts[r, b]` times.

    As `metrics.mean_average_precision` of those clips; classes of which a draw holds
    no positive clip are left out of its mean.
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
    """`[R]` of one class; NaN where no positive clip was drawn."""
    order = np.argsort(-logits, kind="stable")
    ranked, weights = logits[order], counts[:, order]
    (rows,) = np.nonzero(positive[order])
    # Clips of equal scores are found together, with the last of them.
    ends = np.searchsorted(-ranked, -ranked[rows], side="right") - 1
    found = np.cumsum(weights[:, rows], 1)
    hits = found[:, np.searchsorted(rows, ends, side="right") - 1]
    heard = np.cumsum(weights, 1)[:, ends]
    gained = weights[:, rows]
    precision = np.divide(hits, heard, out=np.zeros_like(hits), where=heard > 0)
    total = found[:, -1].astype(np.float64)
    summed = (gained * precision).sum(1, dtype=np.float64)
    return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _rng(*names: str) -> np.random.Generator:
    """The same for the same names, everywhere."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
