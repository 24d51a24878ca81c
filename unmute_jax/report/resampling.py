"""Estimates how much scores would vary with other clips and seeds.

Where the logits of the test split were saved, the score is computed again without each
of some blocks of clips (the jackknife of `intervals.py`). Clips are left out by groups:
the recordings, sites or speakers that they were cut from. A test split with fewer than
five groups tells nothing about other groups: there clips are left out whatever their
group. Without logits, folds stand for clips if there are five.

Cells of one test split share the blocks, so that probes and encoders are compared on
the same clips.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pathlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8

from unmute_jax.console import progress
from unmute_jax.io import write_atomically
from unmute_jax.report import intervals
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.result_grid import RecordFile, ResultCell
from unmute_jax.results.predictions import Predictions, read_predictions

# Increased whenever the same file would give other scores.
VERSION = 3
# Into how many blocks the clips or groups of a test split are divided at most.
BLOCKS = 50
# Fewer groups, or folds, say next to nothing about others.
LEAST_UNITS = 5
# Blocks times rows of one pass, few enough to stay in the cache of the processor.
_PASS = 1 << 22


@dataclass(frozen=True)
class Basis:
    """What is resampled (left out in turn) for a cell.

    Attributes:
        kind: "groups", "clips" or "folds"; empty if only seeds vary, or nothing.
        units: How many there are of them in each test split, or of folds.
        has_seeds: Whether there are several seeds.
        has_few_groups: Whether clips are resampled although they come from groups,
            because a test split has fewer than five of them.
    """

    kind: str
    units: tuple[int, ...]
    has_seeds: bool
    has_few_groups: bool = False

    @property
    def text(self) -> str:
        """What is resampled, in words, such as "groups, seeds"; or nothing."""
        drawn = [self.kind] if self.kind else []
        return ", ".join([*drawn, *(["seeds"] if self.has_seeds else [])])


def basis(cell: ResultCell) -> Basis:
    """What is resampled for a cell."""
    has_seeds, folds = len(cell.seeds) > 1, len(cell.folds)
    if any(file.predictions is None for file in cell.files):
        if folds >= LEAST_UNITS:
            return Basis("folds", (folds,), has_seeds)
        return Basis("", (), has_seeds)
    # Each seed is tested on the same clips.
    first = [file for file in cell.files if file.record.seed == cell.seeds[0]]
    counts = [file.test_counts for file in first]
    drawn = [_unit(*c) for c in counts]
    units = tuple(
        groups if kind == "groups" else clips
        for kind, (clips, groups) in zip(drawn, counts, strict=True)
    )
    few = any(groups < LEAST_UNITS and groups < clips for clips, groups in counts)
    kind = "groups" if "groups" in drawn else "clips"
    return Basis(kind, units, has_seeds, few)


def _unit(clips: int, groups: int) -> str:
    """What is resampled of a test split."""
    return "groups" if LEAST_UNITS <= groups < clips else "clips"


# For each fold, the mean over seeds in points of 100: on all clips, and without each
# block. Where folds are resampled, there is one entry with the means without each fold.
_Folds = tuple[tuple[float, Float[np.ndarray, " J"]], ...]


class Resampler:
    """Computes the scores of cells on parts of their clips."""

    def __init__(self, folder: pathlib.Path):
        """Sets the folder in which scores are cached."""
        self._folder = folder
        # Cells are kept here, so that no other can get the id of one.
        self._cells: dict[int, tuple[ResultCell, _Folds]] = {}
        self._counts: dict[str, UInt8[np.ndarray, "J B"]] = {}

    def prepare(self, cells: Iterable[ResultCell]) -> None:
        """Resamples all cells, with a progress bar."""
        clips = [cell for cell in cells if basis(cell).kind in ("groups", "clips")]
        files = sum(len(cell.files) for cell in clips)
        if not files:
            return
        with progress("resampling test clips", files, unit="records") as advance:
            for cell in clips:
                self._resampled(cell, advance)
                # Cells are ordered by data set: the blocks of others can go.
                if len(self._counts) > len(cell.folds):
                    self._counts.clear()

    def score(self, cell: ResultCell) -> Estimate:
        """The score of a cell with its errors from clips (or folds) and seeds."""
        return self._estimate(cell.mean, self._resampled(cell), cell.scores)

    def difference(self, a: ResultCell, b: ResultCell) -> Estimate:
        """The score of `a` minus that of `b`, which has the same folds.

        The same clips are left out for both. Seeds of different probes have nothing in
        common; but where both cells have the same predictions, their difference is zero
        whatever is left out.
        """
        if a.has_predictions_of(b):
            return Estimate(a.mean - b.mean, 0.0, ())
        first, second = self._resampled(a), self._resampled(b)
        folds = []
        if len(first) == len(second):
            folds = [
                (x - y, xs - ys)
                for (x, xs), (y, ys) in zip(first, second, strict=True)
                if len(xs) == len(ys)
            ]
        return self._estimate(a.mean - b.mean, folds, a.scores, b.scores)

    def _estimate(
        self,
        value: float,
        folds: Sequence[tuple[float, np.ndarray]],
        *seeds: np.ndarray,
    ) -> Estimate:
        clips = Estimate(value, 0.0, ())
        if folds:
            parts = intervals.mean([intervals.of_blocks(*fold) for fold in folds])
            clips = Estimate(value, parts.bias, parts.parts)
        return intervals.combined(clips, *seeds)

    def _resampled(
        self, cell: ResultCell, advance: Callable[[int], None] = lambda count: None
    ) -> _Folds:
        if id(cell) not in self._cells:
            kind, folds = basis(cell).kind, []
            if kind == "folds":
                folds = [_without_each_fold(cell)]
            elif kind:
                folds = [self._of_fold(cell, p, advance) for p in cell.folds]
            self._cells[id(cell)] = cell, tuple(folds)
        return self._cells[id(cell)][1]

    def _of_fold(
        self, cell: ResultCell, protocol: str, advance: Callable[[int], None]
    ) -> tuple[float, np.ndarray]:
        """The mean over seeds on all test clips of a fold, and without each block."""
        files = [f for f in cell.files if f.record.protocol == protocol]
        found = []
        for file in files:
            found.append(self._of_record(file))
            advance(1)
        value = 100 * float(np.mean([f.record.test for f in files]))
        return value, 100 * np.mean(found, 0)

    def _of_record(self, file: RecordFile) -> np.ndarray:
        """The score without each block."""
        if not np.isfinite(file.record.test):
            # The logits of a diverged training order the clips at random.
            clips, groups = file.test_counts
            units = groups if _unit(clips, groups) == "groups" else clips
            return np.full(_blocks(units), np.nan)
        assert file.predictions is not None
        content = file.predictions.read_bytes()
        metric = file.record.metric
        key = f"{VERSION} {metric} {hashlib.sha256(content).hexdigest()}"
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        # A damaged file of the cache is computed again.
        with contextlib.suppress(OSError, ValueError, EOFError):
            return np.load(path)
        saved = read_predictions(file.predictions)
        score = accuracies if metric == "accuracy" else mean_average_precisions
        scores = score(saved.logits, saved.labels, self._counts_of(saved))
        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(path, buffer.getvalue())
        return scores

    def _counts_of(self, saved: Predictions) -> UInt8[np.ndarray, "J B"]:
        """One for each row of some predictions, but zero for those of each block."""
        text = "\n".join((*saved.ids, *saved.groups))
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self._counts:
            clips, groups = len(set(saved.ids)), len(set(saved.groups))
            names = saved.groups if _unit(clips, groups) == "groups" else saved.ids
            rng = _rng("clips", *sorted(set(names)))
            self._counts[key] = block_counts(names, rng)
        return self._counts[key]


def _without_each_fold(cell: ResultCell) -> tuple[float, np.ndarray]:
    """The mean over all folds, and without each."""
    tests = {f: [] for f in cell.folds}
    for file in cell.files:
        tests[file.record.protocol].append(100 * file.record.test)
    scores = np.asarray([np.mean(tests[fold]) for fold in cell.folds])
    without = (scores.sum() - scores) / (len(scores) - 1)
    return float(scores.mean()), without


def block_counts(
    names: Sequence[str], rng: np.random.Generator
) -> UInt8[np.ndarray, "J B"]:
    """One for each row, but zero for the rows of the block that is left out.

    Args:
        names: The clip or group of each of the B rows. Blocks have whole clips or
            groups, drawn at random; J is the number of these, but at most `BLOCKS`, and
            such that blocks are equally large as far as possible.
        rng: The generator.
    """
    units, index = np.unique(np.asarray(names), return_inverse=True)
    n, blocks = len(units), _blocks(len(units))
    counts = np.ones((blocks, n), np.uint8)
    for row, block in zip(
        counts, np.array_split(rng.permutation(n), blocks), strict=True
    ):
        row[block] = 0
    return counts[:, index]


def _blocks(n: int) -> int:
    """The number of blocks of so many units, equally large as far as possible."""
    size = -(-n // BLOCKS)
    return -(-n // size)


def accuracies(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: UInt8[np.ndarray, "J B"],
) -> Float[np.ndarray, " J"]:
    """The accuracy of each choice of clips, in which `counts` is one."""
    right = labels[np.arange(len(labels)), logits.argmax(1)] == 1
    return (counts[:, right].sum(1) / counts.sum(1)).astype(np.float64)


def mean_average_precisions(
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    counts: UInt8[np.ndarray, "J B"],
) -> Float[np.ndarray, " J"]:
    """The mAP of each choice of clips (or time steps), in which `counts` is one.

    It equals `metrics.mean_average_precision` of these clips. Classes without a
    positive clip in a choice are left out of its mean.
    """
    step = max(1, _PASS // len(labels))
    parts = []
    for start in range(0, len(counts), step):
        block = counts[start : start + step].astype(np.float32)
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
    """The average precision of one class `[J]`; NaN if no positive clip is left."""
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
