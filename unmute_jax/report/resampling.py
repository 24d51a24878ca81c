"""Estimates how much scores would vary with other clips and seeds.

Where the logits of the test clips were saved, clips are left out or drawn by groups:
the recordings, sites or speakers that they were cut from. A test split with fewer than
five groups tells nothing about other groups: there they are left out or drawn one by
one. Without logits, folds stand for clips if there are five.

Intervals of scores and gains come from the jackknife, which leaves out blocks of clips
(`intervals.py`). Those of ranks and correlations come from the bootstrap, which draws
as many clips as there are, with replacement, and seeds.

Cells of one test split share blocks and draws, so that differences and ranks of
encoders are compared on the same clips. Draws of seeds do not depend on the encoder, so
that two encoders with the same tokens differ in nothing.
"""

from __future__ import annotations

import hashlib
import io
import pathlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from unmute_jax.console import progress
from unmute_jax.io import write_atomically
from unmute_jax.report import intervals
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.result_grid import RecordFile, ResultCell
from unmute_jax.results.predictions import Predictions, read_predictions

# Increased whenever the same file would give other draws.
VERSION = 2
# Into how many blocks the clips or groups of a test split are divided at most.
BLOCKS = 50
# With fewer groups, or folds, draws of them say next to nothing about others.
LEAST_UNITS = 5
# Draws times clips of one pass, few enough to stay in the cache of the processor.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Basis:
    """What is resampled (left out or drawn) for a cell.

    Attributes:
        kind: "groups", "clips" or "folds"; empty if only seeds are drawn, or nothing.
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


@dataclass(frozen=True)
class _Resampled:
    """The scores of a cell under resampling, in points of 100.

    Attributes:
        cell: The cell. It is kept here, so that no other can get its id.
        draws: The mean over seeds and folds in each draw of clips, groups or folds;
            None if none of them is drawn.
        seeds: By how much the mean over seeds differs in each draw of seeds.
        folds: For each fold the mean over seeds: on all clips, and without each block.
            Where folds are resampled, one entry with the means without each fold.
    """

    cell: ResultCell
    draws: Float[np.ndarray, " R"] | None
    seeds: Float[np.ndarray, " R"]
    folds: tuple[tuple[float, Float[np.ndarray, " J"]], ...]


class Resampler:
    """Computes the scores of cells on parts and draws of their clips.

    Attributes:
        resamples: The number R of draws.
    """

    def __init__(self, resamples: int, folder: pathlib.Path):
        """Sets the number of draws, and the folder in which scores are cached."""
        self.resamples = resamples
        self._folder = folder
        self._cells: dict[int, _Resampled] = {}
        self._counts: dict[str, Num[np.ndarray, "_ B"]] = {}

    def prepare(self, cells: Iterable[ResultCell]) -> None:
        """Resamples all cells, with a progress bar."""
        clips = [cell for cell in cells if basis(cell).kind in ("groups", "clips")]
        files = sum(len(cell.files) for cell in clips)
        if not files:
            return
        with progress("resampling test clips", files, unit="records") as advance:
            for cell in clips:
                self._resampled(cell, advance)
                # Cells are ordered by data set: the draws of others can go.
                if len(self._counts) > len(cell.folds):
                    self._counts.clear()

    def draws(self, cell: ResultCell) -> Float[np.ndarray, " R"]:
        """The score of a cell in each draw, with the score of the cell as their mean.

        It is constant if nothing can be drawn, and NaN if a seed diverged. Draws of `n`
        clips or seeds vary less than other clips or seeds would, by `(n - 1) / n`;
        this is corrected.
        """
        found, units = self._resampled(cell, _ignore), basis(cell).units
        scores = cell.mean + found.seeds * _factor([len(cell.seeds)])
        if found.draws is not None:
            scores = scores + (found.draws - found.draws.mean()) * _factor(units)
        return scores

    def score(self, cell: ResultCell) -> Estimate:
        """The score of a cell with its errors from clips (or folds) and seeds."""
        found = self._resampled(cell, _ignore)
        return self._estimate(cell.mean, found.folds, cell.scores)

    def difference(self, a: ResultCell, b: ResultCell) -> Estimate:
        """The score of `a` minus that of `b`, which has the same folds.

        The same clips are left out for both. Seeds of different probes have nothing in
        common; but where both cells have the same predictions, their difference is zero
        whatever is drawn.
        """
        if a.has_predictions_of(b):
            return Estimate(a.mean - b.mean, 0.0, ())
        first, second = (self._resampled(cell, _ignore).folds for cell in (a, b))
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
        self, cell: ResultCell, advance: Callable[[int], None]
    ) -> _Resampled:
        if id(cell) not in self._cells:
            kind, draws, folds = basis(cell).kind, None, []
            if kind == "folds":
                draws, folds = self._of_folds(cell)
            elif kind:
                found = [self._of_fold(cell, p, advance) for p in cell.folds]
                draws = np.mean([drawn for _, drawn, _ in found], 0)
                folds = [(value, left_out) for value, _, left_out in found]
            rng = _rng("seeds", cell.dataset, cell.probe)
            scores = cell.scores
            chosen = rng.integers(len(scores), size=(len(scores), self.resamples))
            seeds = scores[chosen].mean(0) - scores.mean()
            self._cells[id(cell)] = _Resampled(cell, draws, seeds, tuple(folds))
        return self._cells[id(cell)]

    def _of_folds(
        self, cell: ResultCell
    ) -> tuple[np.ndarray, list[tuple[float, np.ndarray]]]:
        """Draws of folds, and the mean over all of them and without each."""
        tests = {f: [] for f in cell.folds}
        for file in cell.files:
            tests[file.record.protocol].append(100 * file.record.test)
        scores = np.asarray([np.mean(tests[fold]) for fold in cell.folds])
        n = len(scores)
        rng = _rng("folds", cell.dataset, *cell.folds)
        draws = scores[rng.integers(n, size=(n, self.resamples))].mean(0)
        without = (scores.sum() - scores) / (n - 1)
        return draws, [(float(scores.mean()), without)]

    def _of_fold(
        self, cell: ResultCell, protocol: str, advance: Callable[[int], None]
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The mean over seeds on all test clips of a fold, in draws, without blocks."""
        files = [f for f in cell.files if f.record.protocol == protocol]
        found = []
        for file in files:
            found.append(self._of_record(file))
            advance(1)
        means = 100 * np.mean(found, 0)
        value = 100 * float(np.mean([f.record.test for f in files]))
        return value, means[: self.resamples], means[self.resamples :]

    def _of_record(self, file: RecordFile) -> np.ndarray:
        """The score in each draw, followed by that without each block."""
        if not np.isfinite(file.record.test):
            # The logits of a diverged training order the clips at random.
            clips, groups = file.test_counts
            units = groups if _unit(clips, groups) == "groups" else clips
            return np.full(self.resamples + _blocks(units), np.nan)
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

    def _counts_of(self, saved: Predictions) -> Num[np.ndarray, "_ B"]:
        """How often each clip occurs in each draw, and without each block."""
        text = "\n".join((*saved.ids, *saved.groups))
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self._counts:
            clips, groups = len(saved.ids), len(set(saved.groups))
            names = saved.groups if _unit(clips, groups) == "groups" else saved.ids
            rng = _rng("clips", *sorted(set(names)))
            drawn = draw_counts(names, self.resamples, rng)
            self._counts[key] = np.concatenate([drawn, block_counts(names, rng)])
        return self._counts[key]


def draw_counts(
    groups: Sequence[str], resamples: int, rng: np.random.Generator
) -> Num[np.ndarray, "R B"]:
    """How often each clip occurs in each draw of as many groups as there are.

    Args:
        groups: The group of each of the B clips.
        resamples: The number R of draws.
        rng: The generator.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    n = len(names)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return drawn.astype(np.float32)[:, index]


def block_counts(
    groups: Sequence[str], rng: np.random.Generator
) -> Num[np.ndarray, "J B"]:
    """One for each clip, but zero for the clips of the block that is left out.

    Args:
        groups: The group of each of the B clips. Blocks have whole groups, drawn at
            random; J is the number of groups, but at most `BLOCKS`, and such that
            blocks are equally large as far as possible.
        rng: The generator.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    n, blocks = len(names), _blocks(len(names))
    counts = np.ones((blocks, n), np.float32)
    for row, block in zip(
        counts, np.array_split(rng.permutation(n), blocks), strict=True
    ):
        row[block] = 0
    return counts[:, index]


def _blocks(n: int) -> int:
    """The number of blocks of so many groups, equally large as far as possible."""
    size = -(-n // BLOCKS)
    return -(-n // size)


def _factor(units: Sequence[int]) -> float:
    """By how much a draw of so many things varies too little, as a standard deviation.

    One thing varies not at all.
    """
    freedom = sum(n - 1 for n in units)
    return (sum(units) / freedom) ** 0.5 if freedom else 1.0


def _ignore(count: int) -> None:
    """Stands for a progress bar."""


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
