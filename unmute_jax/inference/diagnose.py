"""What the prototypes of a trained probe turned into.

Are they different from each other, or copies; does each of them stand for some sound,
or do a few stand for all; and which sounds are they? Pairwise cosines and the effective
rank mean little by themselves, as random directions in hundreds of dimensions are all
but orthogonal: those of as many random sign vectors stand beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from unmute_jax.encoders import Geometry
from unmute_jax.inference import explain
from unmute_jax.probes import Probe
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens

# About how wide the bins of the histogram of cosines are.
BIN = 0.02
# How many rows of the matrix of all pairs are held at a time.
ROWS = 1024


@dataclass(frozen=True)
class Shape:
    """How a set of vectors lies in space.

    Attributes:
        cosines: How many pairs of two different vectors lie in each of the bins.
        deviation: Standard deviation of the cosines; 0 for a single vector.
        largest: The cosine of the two that are most alike; 0 for a single vector.
        rank: The effective rank (Roy and Vetterli, 2007): the exponential of the
            entropy of the singular values. At most P and D.
    """

    cosines: tuple[int, ...]
    deviation: float
    largest: float
    rank: float


@dataclass(frozen=True)
class Nearest:
    """A place in a training clip that is much like a prototype.

    Attributes:
        clip: Its id.
        classes: What is in it.
        similarity: The best of the clip.
        seconds: Start and end of the token in the clip.
        hertz: Its lowest and its highest frequency.
    """

    clip: str
    classes: tuple[str, ...]
    similarity: float
    seconds: tuple[float, float]
    hertz: tuple[float, float]


@dataclass(frozen=True)
class Prototype:
    """What is known of one prototype.

    Attributes:
        index: Its row.
        wins: The share of all tokens to which no other prototype is more similar.
        mean: Of its best match, over the clips.
        deviation: Standard deviation of that.
        influence: `deviation` times its largest weight in the classifier by absolute
            value: how much of a logit hangs on it.
        weights: Of every class, in the order of the classes.
        nearest: The clips that match it best, best first.
    """

    index: int
    wins: float
    mean: float
    deviation: float
    influence: float
    weights: tuple[float, ...]
    nearest: tuple[Nearest, ...]


@dataclass(frozen=True)
class Diagnostics:
    """Of all prototypes of a probe.

    Attributes:
        size: (P, D).
        bins: The edges of the bins of cosines.
        clips: How many were looked at, and `tokens` of them.
        shape: Of the prototypes.
        random: Of as many random sign vectors.
        never: The share of prototypes that win no token at all.
        prototypes: Every one, in order.
    """

    size: tuple[int, int]
    bins: tuple[float, ...]
    clips: int
    tokens: int
    shape: Shape
    random: Shape
    never: float
    prototypes: tuple[Prototype, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


def cosine_bins(d: int) -> Float[np.ndarray, "_"]:
    """Edges of bins over [-1, 1] that suit vectors of D signs.

    Their cosines are multiples of 2 / D. Every bin holds as many of these, or the
    histogram would show the grid.
    """
    multiples = 2 * round(BIN * d / 4) + 1
    width = multiples * 2 / d
    count = int(np.ceil((1 + 1e-6) / width - 0.5))
    return (np.arange(-count, count + 2) - 0.5) * width


def shape_of(vectors: Float[np.ndarray, "P D"]) -> Shape:
    """How the vectors lie in space, whatever their lengths; none may be zero."""
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
    return Shape(
        cosines=tuple(counts.tolist()),
        deviation=float(np.sqrt(max(0.0, squares / n - (total / n) ** 2))),
        largest=largest,
        rank=effective_rank(unit),
    )


def effective_rank(vectors: Float[np.ndarray, "P D"]) -> float:
    """`exp(-sum_i q_i log q_i)` with `q` the singular values over their sum."""
    values = np.linalg.svd(vectors, compute_uv=False)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def random_signs(p: int, d: int) -> Float[np.ndarray, "P D"]:
    """Vectors of +1 and -1 that know nothing; always the same."""
    rng = np.random.default_rng(0)
    return rng.choice(np.array([-1.0, 1.0], np.float32), (p, d))


def diagnose(
    trained: TrainedProbe,
    batches: Iterable[tuple[TokenStore, Int[np.ndarray, "_"], Tokens]],
    *,
    nearest: int = 5,
) -> Diagnostics:
    """Looks at every clip once; holds one batch and the nearest clips.

    Args:
        trained: A probe with prototypes.
        batches: Of `training.clips_of_run.batches_of`, for the clips it was trained on.
        nearest: How many clips to name for each prototype.

    Raises:
        InputError: The probe has no prototypes.
    """
    explain.check_prototypical(trained.probe)
    variables = {"params": trained.params}
    bank = np.asarray(explain.prototypes(trained.probe, variables))
    found = _look_at_all(trained, batches, len(bank), nearest)
    kernel = np.asarray(explain.class_weights(trained.probe, variables)[0])
    wins = found.wins / max(1, found.tokens)
    mean = found.total / max(1, found.clips)
    deviation = np.sqrt(np.maximum(0, found.squares / max(1, found.clips) - mean**2))
    return Diagnostics(
        size=(len(bank), bank.shape[1]),
        bins=tuple(cosine_bins(bank.shape[1]).tolist()),
        clips=found.clips,
        tokens=found.tokens,
        shape=shape_of(bank),
        random=shape_of(random_signs(*bank.shape)),
        never=float((found.wins == 0).mean()),
        prototypes=tuple(
            Prototype(
                index=p,
                wins=float(wins[p]),
                mean=float(mean[p]),
                deviation=float(deviation[p]),
                influence=float(deviation[p] * np.abs(kernel[p]).max()),
                weights=tuple(kernel[p].tolist()),
                nearest=tuple(found.places(p, trained)),
            )
            for p in range(len(bank))
        ),
    )


class _Seen:
    """Sums over the clips so far, and the best of them for each prototype."""

    def __init__(self, p: int, nearest: int):
        self.clips = self.tokens = 0
        self.total, self.squares = np.zeros(p), np.zeros(p)
        self.wins = np.zeros(p, np.int64)
        self._keep, self._stores = nearest, list[TokenStore]()
        # Similarity, which store, row, cell; [P, at most `nearest`].
        self._best = [np.empty((p, 0), np.float32), *(np.empty((p, 0), np.int64),) * 3]
        self._grid = (1, 1)

    def add(
        self,
        store: TokenStore,
        rows: Int[np.ndarray, "B"],
        scores: Float[np.ndarray, "B P"],
        cells: Int[np.ndarray, "B P"],
        winners: Int[np.ndarray, "B T F"],
    ) -> None:
        """Takes in the clips of a batch."""
        self._grid = winners.shape[1:]
        real = winners[winners >= 0]
        self.wins += np.bincount(real, minlength=len(self.wins))
        self.tokens += real.size
        self.clips += len(rows)
        self.total += scores.sum(0, dtype=np.float64)
        self.squares += np.square(scores, dtype=np.float64).sum(0)
        if not self._stores or self._stores[-1] is not store:
            self._stores.append(store)
        shape = scores.T.shape
        which = np.full(shape, len(self._stores) - 1)
        new = (scores.T, which, np.broadcast_to(rows, shape), cells.T)
        both = [np.concatenate(x, 1) for x in zip(self._best, new, strict=True)]
        order = np.argsort(-both[0], axis=1, kind="stable")[:, : self._keep]
        self._best = [np.take_along_axis(x, order, 1) for x in both]

    def places(self, p: int, trained: TrainedProbe) -> Iterable[Nearest]:
        """The best clips of prototype `p`."""
        for similarity, which, row, cell in zip(
            *(x[p] for x in self._best), strict=True
        ):
            store = self._stores[which]
            labels = np.flatnonzero(store.labels[row])
            seconds, hertz = self._place(int(cell), trained.geometry, store)
            yield Nearest(
                clip=store.ids[row],
                classes=tuple(store.classes[c] for c in labels),
                similarity=float(similarity),
                seconds=seconds,
                hertz=hertz,
            )

    def _place(
        self, cell: int, geometry: Geometry, store: TokenStore
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Seconds and Hz of a cell; the map may be finer than that of the tokens."""
        t, f = self._grid
        step = geometry.seconds_per_step * store.grid[0] / t
        band = cell % f * store.grid[1] // f
        start = cell // f * step
        return (start, start + step), geometry.frequency_edges_hz[band]


def _look_at_all(
    trained: TrainedProbe,
    batches: Iterable[tuple[TokenStore, Int[np.ndarray, "_"], Tokens]],
    p: int,
    nearest: int,
) -> _Seen:
    look, seen = _looking(trained.probe), _Seen(p, nearest)
    for store, rows, tokens in batches:
        found = jax.device_get(look({"params": trained.params}, tokens))
        # Behind the given rows the batch is filled up.
        scores, cells, winners = (x[: len(rows)] for x in found)
        seen.add(store, rows, scores, cells, winners)
    return seen


def _looking(probe: Probe) -> Any:
    @jax.jit
    def look(variables: Any, tokens: Tokens) -> Any:
        best = explain.matches(probe, variables, tokens)
        return best.scores, best.cells, explain.winners(probe, variables, tokens)

    return look


def by_influence(diagnostics: Diagnostics) -> Sequence[Prototype]:
    """The prototypes, those on which most hangs first."""
    return sorted(diagnostics.prototypes, key=lambda x: -x.influence)
