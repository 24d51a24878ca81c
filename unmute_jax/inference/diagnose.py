"""Diagnoses the prototypes of a trained probe.

The diagnosis shows whether the prototypes differ from each other or are copies, whether
each of them represents some sound or a few represent all, and which sounds these are.
Pairwise cosines and the effective rank are hard to judge by themselves, because random
directions in hundreds of dimensions are almost orthogonal. The same numbers of as many
random sign vectors are therefore given beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from unmute_jax.encoders import Geometry
from unmute_jax.inference import explain
from unmute_jax.probes import Probe
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens

# The approximate width of the bins in the histogram of cosines.
BIN_WIDTH = 0.02
# The number of rows of the matrix of all pairs in memory at a time.
ROWS = 1024


@dataclass(frozen=True)
class Diversity:
    """How different the vectors of a set are from each other.

    Attributes:
        cosines: The number of pairs of vectors with a cosine in each bin.
        deviation: The standard deviation of the cosines; 0 for a single vector.
        largest: The cosine of the most similar pair; 0 for a single vector.
        rank: The effective rank (Roy and Vetterli, 2007): the exponential of the
            entropy of the singular values. It is at most P and at most D.
    """

    cosines: tuple[int, ...]
    deviation: float
    largest: float
    rank: float


@dataclass(frozen=True)
class NearestClip:
    """A training clip with a token that is similar to a prototype.

    Attributes:
        clip: The id of the clip.
        split: The split of the clip.
        row: The position of the clip in that split, from 0.
        classes: The classes in the clip.
        similarity: The highest similarity of a token of the clip.
        seconds: The start and the end of that token in the clip.
        hertz: The lowest and the highest frequency of that token.
    """

    clip: str
    split: str
    row: int
    classes: tuple[str, ...]
    similarity: float
    seconds: tuple[float, float]
    hertz: tuple[float, float]


@dataclass(frozen=True)
class PrototypeDiagnosis:
    """Facts about one prototype.

    Attributes:
        index: The row of the prototype.
        wins: The share of all tokens to which no other prototype is more similar.
        mean: The mean of its best match in a clip, over the clips.
        deviation: The standard deviation of its best match, over the clips.
        influence: `deviation` times the largest absolute weight in the classifier: how
            much the prototype changes a logit.
        weights: The weight for each class.
        nearest: The clips that match it best, in descending order.
    """

    index: int
    wins: float
    mean: float
    deviation: float
    influence: float
    weights: tuple[float, ...]
    nearest: tuple[NearestClip, ...]


@dataclass(frozen=True)
class Diagnostics:
    """The diagnosis of all prototypes of a probe.

    Attributes:
        size: The number P of prototypes and the number D of their features.
        bins: The edges of the bins of cosines.
        clips: The number of training clips.
        tokens: The number of their tokens.
        shape: The diversity of the prototypes.
        random: The diversity of as many random sign vectors.
        never: The share of prototypes that are nearest to no token.
        prototypes: The prototypes in order.
    """

    size: tuple[int, int]
    bins: tuple[float, ...]
    clips: int
    tokens: int
    shape: Diversity
    random: Diversity
    never: float
    prototypes: tuple[PrototypeDiagnosis, ...]

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain JSON."""
        return dataclasses.asdict(self)


def cosine_bins(d: int) -> Float[np.ndarray, "_"]:
    """Makes the edges of bins over [-1, 1] for the cosines of vectors with D features.

    Cosines of sign vectors are multiples of 2 / D. Every bin contains the same number
    of these multiples; otherwise the histogram would be jagged.
    """
    multiples = 2 * round(BIN_WIDTH * d / 4) + 1
    width = multiples * 2 / d
    count = int(np.ceil((1 + 1e-6) / width - 0.5))
    return (np.arange(-count, count + 2) - 0.5) * width


def diversity(vectors: Float[np.ndarray, "P D"]) -> Diversity:
    """Measures the diversity of vectors, none of which may be zero."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    bins = cosine_bins(unit.shape[1])
    counts = np.zeros(len(bins) - 1, np.int64)
    total, squares, largest = 0.0, 0.0, -1.0
    for start in range(0, len(unit), ROWS):
        rows = unit[start : start + ROWS] @ unit[start:].T
        pairs = np.clip(rows[np.triu_indices(len(rows), 1, rows.shape[1])], -1, 1)
        counts += np.histogram(pairs, bins)[0]
        total += float(pairs.sum(dtype=np.float64))
        squares += float(np.square(pairs, dtype=np.float64).sum())
        largest = max(largest, float(pairs.max(initial=-1.0)))
    n = len(unit) * (len(unit) - 1) // 2
    if n == 0:
        largest, n = 0.0, 1
    return Diversity(
        cosines=tuple(counts.tolist()),
        deviation=float(np.sqrt(max(0.0, squares / n - (total / n) ** 2))),
        largest=largest,
        rank=effective_rank(unit),
    )


def effective_rank(vectors: Float[np.ndarray, "P D"]) -> float:
    """Computes `exp(-sum_i q_i log q_i)`; `q` are singular values over their sum."""
    values = np.linalg.svd(vectors, compute_uv=False)
    return float(np.exp(scipy.special.entr(values / values.sum()).sum()))


def random_signs(p: int, d: int) -> Float[np.ndarray, "P D"]:
    """Draws vectors of +1 and -1; the same ones in every call."""
    rng = np.random.default_rng(0)
    return rng.choice(np.array([-1.0, 1.0], np.float32), (p, d))


def diagnose(
    trained: TrainedProbe,
    batches: Iterable[tuple[TokenStore, Int[np.ndarray, "_"], Tokens]],
    *,
    nearest: int = 5,
) -> Diagnostics:
    """Diagnoses a probe in one pass over its training clips.

    Args:
        trained: A trained probe with prototypes.
        batches: The training clips, as `clips_of_run.batches_of` yields them. One
            batch is in memory at a time.
        nearest: The number of clips to list for each prototype.

    Raises:
        InputError: The probe has no prototypes.
    """
    explain.check_prototypical(trained.probe)
    variables = {"params": trained.params}
    bank = np.asarray(explain.prototypes(trained.probe, variables))
    seen = _pass_over(trained, batches, len(bank), nearest)
    kernel = np.asarray(explain.class_weights(trained.probe, variables)[0])
    wins = seen.wins / max(1, seen.tokens)
    mean = seen.total / max(1, seen.clips)
    deviation = np.sqrt(np.maximum(0, seen.squares / max(1, seen.clips) - mean**2))
    return Diagnostics(
        size=(len(bank), bank.shape[1]),
        bins=tuple(cosine_bins(bank.shape[1]).tolist()),
        clips=seen.clips,
        tokens=seen.tokens,
        shape=diversity(bank),
        random=diversity(random_signs(*bank.shape)),
        never=float((seen.wins == 0).mean()),
        prototypes=tuple(
            PrototypeDiagnosis(
                index=p,
                wins=float(wins[p]),
                mean=float(mean[p]),
                deviation=float(deviation[p]),
                influence=float(deviation[p] * np.abs(kernel[p]).max()),
                weights=tuple(kernel[p].tolist()),
                nearest=tuple(seen.nearest_clips(p, trained)),
            )
            for p in range(len(bank))
        ),
    )


class _ClipStatistics:
    """Sums over the clips so far, and the best clips for each prototype."""

    def __init__(self, p: int, nearest: int):
        self.clips = self.tokens = 0
        self.total, self.squares = np.zeros(p), np.zeros(p)
        self.wins = np.zeros(p, np.int64)
        self._nearest, self._stores = nearest, list[TokenStore]()
        # Similarity, index of the store, row and cell, each [P, at most `nearest`].
        self._best = [np.empty((p, 0), np.float32), *(np.empty((p, 0), np.int64),) * 3]
        self._grid = (1, 1)

    def add(
        self,
        store: TokenStore,
        rows: Int[np.ndarray, "B"],
        scores: Float[np.ndarray, "B P"],
        cells: Int[np.ndarray, "B P"],
        nearest: Int[np.ndarray, "B *L T F"],
    ) -> None:
        """Adds the clips of a batch."""
        self._grid = nearest.shape[-2:]
        valid = nearest[nearest >= 0]
        self.wins += np.bincount(valid, minlength=len(self.wins))
        self.tokens += valid.size
        self.clips += len(rows)
        self.total += scores.sum(0, dtype=np.float64)
        self.squares += np.square(scores, dtype=np.float64).sum(0)
        if not self._stores or self._stores[-1] is not store:
            self._stores.append(store)
        shape = scores.T.shape
        which = np.full(shape, len(self._stores) - 1)
        new = (scores.T, which, np.broadcast_to(rows, shape), cells.T)
        both = [np.concatenate(x, 1) for x in zip(self._best, new, strict=True)]
        order = np.argsort(-both[0], axis=1, kind="stable")[:, : self._nearest]
        self._best = [np.take_along_axis(x, order, 1) for x in both]

    def nearest_clips(self, p: int, trained: TrainedProbe) -> Iterable[NearestClip]:
        """The best clips of prototype `p`."""
        for similarity, which, row, cell in zip(
            *(x[p] for x in self._best), strict=True
        ):
            store = self._stores[which]
            labels = np.flatnonzero(store.labels[row])
            seconds, hertz = self._locate(int(cell), trained.geometry, store)
            yield NearestClip(
                clip=store.ids[row],
                split=store.key["split"],
                row=int(row),
                classes=tuple(store.classes[c] for c in labels),
                similarity=float(similarity),
                seconds=seconds,
                hertz=hertz,
            )

    def _locate(
        self, cell: int, geometry: Geometry, store: TokenStore
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """The seconds and Hz of a cell. The map may be finer than the tokens."""
        t, f = self._grid
        step = geometry.seconds_per_step * store.grid[0] / t
        band = cell % f * store.grid[1] // f
        start = cell // f * step
        return (start, start + step), geometry.frequency_edges_hz[band]


def _pass_over(
    trained: TrainedProbe,
    batches: Iterable[tuple[TokenStore, Int[np.ndarray, "_"], Tokens]],
    p: int,
    nearest: int,
) -> _ClipStatistics:
    match, seen = _compile_match(trained.probe), _ClipStatistics(p, nearest)
    for store, rows, tokens in batches:
        arrays = jax.device_get(match({"params": trained.params}, tokens))
        # Behind the given rows the batch repeats a clip.
        seen.add(store, rows, *(x[: len(rows)] for x in arrays))
    return seen


def _compile_match(probe: Probe) -> Any:
    @jax.jit
    def match(variables: Any, tokens: Tokens) -> Any:
        best = explain.best_matches(probe, variables, tokens)
        nearest = explain.nearest_prototypes(probe, variables, tokens)
        return best.scores, best.cells, nearest

    return match


def by_influence(diagnostics: Diagnostics) -> Sequence[PrototypeDiagnosis]:
    """The prototypes in descending order of influence."""
    return sorted(diagnostics.prototypes, key=lambda x: -x.influence)
