"""Estimates the cost of a grid: bytes, parameters, steps and device-hours.

Steps are calculated, and multiply-adds are counted in the traced programs. Their
duration is measured on this device, once per encoder and per probe, on zeros, and
scaled to all other cells by their multiply-adds; or the rate of another device is
given.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import jax
import numpy as np

from unmute_jax import distributed
from unmute_jax.console import progress
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, ExportedTokens, Source
from unmute_jax.encoders.custom import HostEncoder
from unmute_jax.errors import InputError
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.placeholders import make_setup
from unmute_jax.grid.status import hours
from unmute_jax.ops.flops import count_multiply_adds
from unmute_jax.probes import Probe
from unmute_jax.store.clip_lengths import length_notes
from unmute_jax.store.estimate import estimate_store
from unmute_jax.store.key import Kept
from unmute_jax.store.maintenance import layers_in_words
from unmute_jax.training import placeholders, plan
from unmute_jax.training.length import steps_of
from unmute_jax.training.setup import Setup
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.zeros import zeros_for

Counted = TypeVar("Counted", bound=Callable)

# On a CPU, steps of more than `LONG` multiply-adds are measured with `FEW` clips, as
# whole batches would take too long. Lighter steps keep their whole batch: their
# duration is mostly overhead, which would otherwise be scaled up.
FEW, LONG = 16, 1e9


@dataclass(frozen=True, kw_only=True)
class TokenCost:
    """The cost of the tokens of an encoder and a data set, for some of their cells.

    Attributes:
        encoder: The encoder as it is written in the grid.
        dataset: The data set as it is written in the grid.
        layers: What is kept of other layers than the last, for people.
        clips: The number of clips.
        size: The size of all tokens on disk, in bytes.
        missing: The number of clips whose tokens are not computed yet.
        cost: The seconds for these clips.
        notes: What is unusual about the lengths of the clips, for people.
    """

    encoder: str
    dataset: str
    layers: tuple[str, ...]
    clips: int
    size: int
    missing: int
    cost: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """The cost of the training of a cell.

    Attributes:
        cell: The cell.
        parameters: The number of parameters of one trial.
        steps: The number of steps of one whole trial.
        trainings: The number of trials over all protocols, those that a search stops
            counted in part.
        cost: The seconds for all of them.
    """

    cell: Cell
    parameters: int
    steps: int
    trainings: float
    cost: float


@dataclass(frozen=True)
class Estimate:
    """The costs of a grid.

    Attributes:
        tokens: The costs for each encoder and data set.
        trainings: The costs for each cell, where enough is known about it.
        problems: The missing things, and what to do about them.
        failures: The cells that would fail, each with the reason.
        basis: The origin of the durations, for people.
    """

    tokens: list[TokenCost]
    trainings: list[TrainingCost]
    problems: list[str]
    failures: list[str]
    basis: str


def estimate(cells: Sequence[Cell], *, rate: float | None = None) -> Estimate:
    """Estimates the cost of cells as if none of them were done.

    Args:
        cells: The cells of a grid.
        rate: Multiply-adds per second of the device to run on; None measures this one.
    """
    clock = _Clock(rate)
    result = Estimate([], [], [], [], "")
    datasets: dict[tuple[str, Any], placeholders.Part] = {}
    encoder, opened = placeholders.Part(None), ("", "")
    with progress("estimate", len(cells), unit="cells") as advance:
        for pair in dict.fromkeys(cell.pair for cell in cells):
            mine = [cell for cell in cells if cell.pair == pair]
            settings = mine[0].settings
            # One encoder at a time is in memory.
            if (wanted := (settings.encoder, settings.weights)) != opened:
                encoder, opened = placeholders.encoder_of(settings), wanted
            key = pair[1], settings.dataset_options
            if key not in datasets:
                datasets[key] = placeholders.dataset_of(settings)
            problems = encoder.problem, datasets[key].problem
            new = [p for p in problems if p and p not in result.problems]
            result.problems.extend(new)
            _add(result, mine, datasets[key].value, encoder.value, clock, advance)
    return dataclasses.replace(result, basis=clock.basis)


def _add(
    result: Estimate,
    cells: Sequence[Cell],
    dataset: Dataset | Source | None,
    encoder: Dataset | Source | None,
    clock: _Clock,
    advance: Callable[[int], None],
) -> None:
    """Adds the costs of cells with the same tokens, if enough is known about them."""
    if not isinstance(dataset, Dataset) or not isinstance(
        encoder, Encoder | ExportedTokens
    ):
        advance(len(cells))
        return
    setups: list[Setup] = []
    problem = None
    for cell in cells:
        try:
            setup = make_setup(cell.settings, dataset, encoder)
            if problem is None:
                problem = plan.missing_clips(setup)
            if problem:
                raise InputError(problem)
            result.trainings.append(_training(cell, setup, clock))
            setups.append(setup)
        except InputError as error:
            result.failures.append(f"{cell.name}: {error}")
        advance(1)
    if setups:
        wanted = dict.fromkeys(kept for setup in setups for kept in setup.kept)
        pair, one = cells[0].pair, setups[0]
        result.tokens.extend(_tokens(pair, one, kept, clock) for kept in wanted)


def describe(result: Estimate, cells: Sequence[Cell], done: set[str]) -> list[str]:
    """Returns the lines that show an estimate to people.

    Args:
        result: The estimate.
        cells: The cells that it covers.
        done: The folders of the cells that are done.
    """
    lines = ["tokens, once per encoder and data set:"]
    noted = set[tuple[str, str]]()
    for t in result.tokens:
        lines.append(
            f"  {', '.join([f'{t.encoder} {t.dataset}', *t.layers])}: "
            f"{t.clips:,} clips, {t.size / 1e9:,.1f} GB, "
            + (f"{hours(t.cost)}" if t.missing else "there already")
        )
        if (t.encoder, t.dataset) not in noted:
            lines += [f"    {note}" for note in t.notes]
        noted.add((t.encoder, t.dataset))
    lines.append("training, per cell:")
    alike: dict[str, list[TrainingCost]] = {}
    for t in result.trainings:
        what = f"{t.cell.dataset} {t.cell.probe}: " + (
            "nothing to train"
            if t.cell.is_fitted
            else f"{t.parameters:,} parameters, {t.trainings:.1f} trainings of "
            f"{t.steps:,} steps, {hours(t.cost)}"
        )
        alike.setdefault(what, []).append(t)
    lines += [
        f"  {what}, {len(same)} x ({', '.join(t.cell.encoder for t in same)})"
        for what, same in alike.items()
    ]
    left = [t for t in result.trainings if t.cell.folder not in done]
    encoding = sum(t.cost for t in result.tokens)
    training = sum(t.cost for t in left)
    size = sum(t.size for t in result.tokens)
    lines.append(
        f"in all    {len(cells)} cells, {len(done)} done; {size / 1e9:,.1f} GB of "
        f"tokens; {hours(encoding + training)} of one device to go, "
        f"{hours(encoding)} for tokens and {hours(training)} for training"
    )
    lines.append(f"          {result.basis}")
    if unknown := len(cells) - len(result.trainings) - len(result.failures):
        lines.append(
            f"          without {unknown} cells about which too little is known"
        )
    if failures := len(result.failures):
        lines.append(f"          without {failures} cells that would fail")
    lines += [f"missing   {problem}" for problem in result.problems]
    lines += [f"fails     {failure}" for failure in result.failures]
    return lines


def _tokens(
    pair: tuple[str, str], setup: Setup, kept: Kept, clock: _Clock
) -> TokenCost:
    encoder, options = setup.encoder, setup.settings.tokens
    stores = [
        estimate_store(
            encoder,
            setup.dataset,
            split,
            dtype=options.dtype,
            kept=kept,
            lengths=options.lengths,
        )
        for split in setup.splits
    ]
    missing = sum(s["clips"] - s["resumable"] for s in stores if not s["exists"])
    cost = 0.0
    if missing and isinstance(encoder, Encoder):
        cost = missing * clock.of_clip(setup, encoder)
    return TokenCost(
        encoder=pair[0],
        dataset=pair[1],
        layers=tuple(layers_in_words(stores[0]["key"])),
        clips=sum(s["clips"] for s in stores),
        size=sum(s["bytes"] for s in stores),
        missing=missing,
        cost=cost,
        notes=length_notes(encoder, setup.dataset, options.lengths),
    )


def _training(cell: Cell, setup: Setup, clock: _Clock) -> TrainingCost:
    settings, (probe,) = cell.settings, setup.probes.values()
    if probe.is_fitted:
        return TrainingCost(cell=cell, parameters=0, steps=0, trainings=0.0, cost=0.0)
    clips = [sum(setup.dataset.splits[s] for s in p.train) for p in setup.protocols]
    steps = [steps_of(settings, n) for n in clips]
    whole = plan.trainings_of(settings)
    batch = min(settings.batch_size, max(clips))
    return TrainingCost(
        cell=cell,
        parameters=_counts(probe, setup)[0],
        steps=steps[0],
        trainings=whole * len(steps),
        cost=whole * sum(steps) * batch * clock.of_example(setup, probe),
    )


def _counts(probe: Probe, setup: Setup) -> tuple[int, int]:
    """Returns a probe's parameters, and multiply-adds to train on one clip."""
    leaves, structure = jax.tree.flatten(zeros_for(setup, probe, 1))
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)
    method = "frames" if setup.settings.frame_rule is not None else None
    return _counted(probe, shapes, structure, method)


def _cached(count: Counted) -> Counted:
    # The type checker thinks that probes cannot be hashed.
    return cast(Counted, functools.cache(count))


# Many cells of a grid have the same shapes.
@_cached
def _counted(
    probe: Probe, shapes: tuple[Any, ...], structure: Any, method: str | None
) -> tuple[int, int]:
    def init(key: Any, leaves: Any) -> Any:
        return probe.init(key, jax.tree.unflatten(structure, leaves))["params"]

    params = jax.eval_shape(init, jax.random.key(0), shapes)
    in_training = probe.clone(training=True)

    def total(params: Any, leaves: Any) -> Any:
        example = jax.tree.unflatten(structure, leaves)
        out: Any = in_training.apply({"params": params}, example, method=method)
        return out.sum()

    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return parameters, count_multiply_adds(jax.value_and_grad(total), params, shapes)


class _Clock:
    """Converts multiply-adds to seconds, and measures how long they take."""

    def __init__(self, rate: float | None):
        self._rate = rate
        # Seconds per multiply-add, by encoder and by probe; per sample for encoders
        # outside of JAX.
        self._measured: dict[str, float] = {}
        self._is_outside = False

    @property
    def basis(self) -> str:
        """Where durations come from, for people."""
        if self._rate:
            here = "; encoders outside of JAX as measured here"
            return (
                f"at {self._rate / 1e9:,.0f} billion multiply-adds per second"
                + here * self._is_outside
            )
        device = jax.devices()[0].device_kind
        return (
            f"measured on {len(jax.devices())} x {device}: each encoder, and one trial "
            "of each probe, on zeros; scaled by multiply-adds"
        )

    def of_clip(self, setup: Setup, encoder: Encoder) -> float:
        """Returns the seconds that the encoder needs for one clip."""
        samples = encoder.input_samples(setup.dataset.clip_seconds)

        def measure() -> float:
            mesh = distributed.make_mesh(setup.settings.devices or None)
            return 1 / plan.encoder_rate(setup, encoder, mesh)

        # Each encoder has its own rate: that of `logmel` says nothing about networks.
        what = f"encoder {setup.settings.encoder}"
        if isinstance(encoder, HostEncoder):
            self._is_outside = True
            # Its multiply-adds are unknown. It is scaled by the length of the input.
            return self._measure(what, samples, measure)
        count = count_multiply_adds(
            encoder.apply,
            encoder.params,
            jax.ShapeDtypeStruct((1, samples), np.float32),
            jax.ShapeDtypeStruct((1,), np.int32),
        )
        return self._seconds(what, count, measure)

    def of_example(self, setup: Setup, probe: Probe) -> float:
        """Returns the seconds of a training step of one trial, divided by its clips."""
        _, count = _counts(probe, setup)

        def measure() -> float:
            few = min(setup.settings.batch_size, max(setup.dataset.splits.values()))
            if jax.default_backend() == "cpu" and few * count > LONG:
                few = min(few, FEW)
            settings = dataclasses.replace(setup.settings, batch_size=few)
            mesh = distributed.make_mesh(settings.devices or None)
            small = dataclasses.replace(setup, settings=settings)
            return plan.step_seconds(small, probe, Sharding(mesh), 1)[0] / few

        return self._seconds(f"probe {setup.settings.probes}", count, measure)

    def _seconds(self, what: str, count: int, measure: Callable[[], float]) -> float:
        if self._rate:
            return count / self._rate
        return self._measure(what, count, measure)

    def _measure(self, what: str, count: int, measure: Callable[[], float]) -> float:
        if what not in self._measured:
            self._measured[what] = measure() / max(count, 1)
        return count * self._measured[what]
