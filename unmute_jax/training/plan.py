"""Describes in words what a run would do, before it does any of it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.encoders import Encoder, ExportedTokens
from unmute_jax.errors import InputError
from unmute_jax.probes import Probe
from unmute_jax.store.batches import default_batch_size
from unmute_jax.store.estimate import estimate_store
from unmute_jax.store.files import parent_folder
from unmute_jax.store.key import Kept
from unmute_jax.store.maintenance import explain_miss, layers_in_words
from unmute_jax.store.manifest import read_manifest
from unmute_jax.store.recheck import recheck, what_the_key_holds
from unmute_jax.training import loop
from unmute_jax.training.length import few_steps, steps_of, with_least_steps
from unmute_jax.training.run import finished
from unmute_jax.training.search.halving import rung_epochs, share_of_epochs
from unmute_jax.training.search.stack_size import TimedSteps, trials_at_once
from unmute_jax.training.setup import Setup
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.workdir import Workdir
from unmute_jax.training.zeros import Zeros


def describe(
    setup: Setup,
    workdir: str | os.PathLike[str],
    *,
    explain: bool = False,
    missing: Sequence[str] = (),
) -> str:
    """Describes data, tokens, training, reuse and time, one line each.

    One batch of the encoder and one step of each probe are run to measure them, and
    nothing is written. Times are those of this machine at this moment.

    Args:
        setup: The opened experiment.
        workdir: The folder of the run, which need not exist.
        explain: Whether to add why tokens can be reused, or why not.
        missing: What is not here yet, as `placeholders.preview` says.

    Raises:
        InputError: The run would be refused because of its tokens.
    """
    mesh = distributed.make_mesh(setup.settings.devices or None)
    if problem := missing_clips(setup):
        raise InputError(problem)
    lines = [*_data(setup), *_tokens(setup, mesh, explain)]
    lines += _training(setup, workdir, mesh)
    lines += [f"missing   {problem}" for problem in missing]
    return "\n".join(lines)


def _data(setup: Setup) -> list[str]:
    d = setup.dataset
    sizes = ", ".join(f"{s} {n}" for s, n in d.splits.items())
    lines = [
        f"data      {d.name} ({d.source}): {d.task}, {len(d.classes)} classes, "
        f"clips of up to {d.clip_seconds:g} s: {sizes}",
    ]
    lines += [f"          {note}" for note in setup.notes]
    for p in setup.protocols:
        lines.append(
            f"protocol  {p.name}: train {'+'.join(p.train)}, validation "
            f"{'+'.join(p.validation)}, test {'+'.join(p.test)}"
        )
    return lines


def _tokens(setup: Setup, mesh: Mesh, explain: bool) -> list[str]:
    settings, encoder = setup.settings, setup.encoder
    t, f = encoder.grid(setup.dataset.clip_seconds)
    lines = [
        f"encoder   {encoder.description}: {t} x {f} tokens of {encoder.num_features}, "
        f"stored as {settings.tokens.dtype}"
    ]
    if explain:
        lines.append(
            f"          in the key of its tokens: {what_the_key_holds(encoder)}"
        )
    missing = 0
    for kept, split in itertools.product(setup.kept, setup.splits):
        found = _estimate(setup, kept, split)
        missing += 0 if found["exists"] else found["clips"] - found["resumable"]
        state = (
            "will be reused"
            if found["exists"]
            else f"to be made ({found['resumable']} of {found['clips']} clips done)"
        )
        what = ", ".join([split, *layers_in_words(found["key"])])
        size = f"{found['bytes'] / 1e6:,.0f} MB{_more_than_last(found)}"
        lines.append(f"tokens    {what}: {found['clips']} clips, {size}, {state}")
        lines += [f"          {line}" for line in _reuse(setup, split, found, explain)]
    if missing and isinstance(encoder, Encoder):
        rate = encoder_rate(setup, encoder, mesh)
        lines.append(
            f"          about {missing / rate:.0f} s to make them ({rate:.3g} clips/s)"
        )
    return lines


def _more_than_last(found: dict[str, Any]) -> str:
    """Says what the last layer alone would take, if a store keeps more than that."""
    last = found["bytes_of_last"]
    if found["bytes"] == last:
        return ""
    return f" ({last / 1e6:,.0f} MB for the last layer alone)"


def _reuse(setup: Setup, split: str, found: dict[str, Any], explain: bool) -> list[str]:
    """Says what shows that the tokens of a split are up to date, or why there are none.

    Args:
        setup: The opened experiment.
        split: One of its splits.
        found: Result of `estimate_store`.
        explain: Whether to say why no cached tokens can be used.

    Raises:
        InputError: There are cached tokens that cannot be reused.
    """
    encoder, dataset, path = setup.encoder, setup.dataset, found["path"]

    def look() -> list[str]:
        manifest = read_manifest(path)
        if manifest is None:
            return explain_miss(parent_folder(path), found["key"]) if explain else []
        lengths = setup.settings.tokens.lengths
        checked = recheck(encoder, dataset, split, path, manifest, lengths=lengths)
        return [checked] if checked else []

    return distributed.broadcast_from_writer(look)


def missing_clips(setup: Setup) -> str:
    """Returns which clips exported tokens lack that are still to be imported.

    The text is empty where nothing is missing, or where an encoder makes the tokens.
    It is empty as well where only the number of clips is known.
    """
    encoder, dataset = setup.encoder, setup.dataset
    is_listed = dataset.is_prepared or bool(dataset.listed_ids)
    if not isinstance(encoder, ExportedTokens) or not is_listed:
        return ""
    for kept, split in itertools.product(setup.kept, setup.splits):
        if _estimate(setup, kept, split)["exists"]:
            continue
        try:
            encoder.check_clips(dataset.ids(split), f"{dataset.name} {split}")
        except InputError as error:
            return str(error)
    return ""


def _estimate(setup: Setup, kept: Kept, split: str) -> dict[str, Any]:
    """What the tokens of a split take, and what of them exists."""
    return estimate_store(
        setup.encoder,
        setup.dataset,
        split,
        dtype=setup.settings.tokens.dtype,
        kept=kept,
        lengths=setup.settings.tokens.lengths,
    )


def encoder_rate(setup: Setup, encoder: Encoder, mesh: Mesh) -> float:
    """Measures how many clips of the longest length per second are encoded.

    Args:
        setup: The opened experiment.
        encoder: Its encoder.
        mesh: The devices.
    """
    size = setup.settings.tokens.batch_size or default_batch_size()
    size = min(size, max(setup.dataset.splits.values()))
    mesh = distributed.local_mesh(mesh)
    width = -(-size // mesh.size) * mesh.size
    samples = encoder.input_samples(setup.dataset.clip_seconds)
    # Not silence: encoders that divide by a standard deviation would warn.
    noise = np.random.default_rng(0).standard_normal((width, samples), np.float32) / 100
    lengths = np.full(width, samples, np.int32)
    encode = encoder.on(mesh)
    return width / _seconds(lambda: encode(noise, lengths))


def _training(setup: Setup, workdir: str | os.PathLike[str], mesh: Mesh) -> list[str]:
    settings, mine = setup.settings, setup.dataset.splits
    clips = [sum(mine[s] for s in p.train) for p in setup.protocols]
    done = finished_probes(setup, workdir)
    times, total, lines = trainings_of(settings), 0.0, list[str]()
    trained = [name for name, probe in setup.probes.items() if not probe.is_fitted]
    if trained and (few := few_steps(settings, min(clips))):
        lines.append(f"note      {few}")
    if trained:
        lines += _search(with_least_steps(settings, min(clips)), trained)
    for name, probe in setup.probes.items():
        if probe.is_fitted:
            lines.append(f"training  {name}: nothing to train")
            continue
        count, sharding, together = _stack(setup, probe, mesh)
        step, size = step_seconds(setup, probe, sharding, count)
        steps = [
            steps_of(settings, n)
            for n, p in zip(clips, setup.protocols, strict=True)
            if (name, p.name) not in done
        ]
        # This takes a trial's share of a step to be the same in any stack.
        seconds = sum(steps) * step / count * times
        total += seconds
        lines.append(
            f"training  {name}: {size:,} parameters, {sum(steps)} steps of "
            f"{min(settings.batch_size, max(clips))} clips {times:.3g} times, "
            f"{together}: "
            f"about {seconds:.0f} s"
        )
    lines += [f"          {n} on {p} is finished and reused" for n, p in sorted(done)]
    where = os.fspath(workdir)
    lines.append(f"in all    about {total:.0f} s of training; written to {where}/")
    return lines


def _search(settings: Experiment, probes: list[str]) -> list[str]:
    """The trials of each probe: the search, its ranges and its rungs, one line each."""
    sweep, epochs = settings.sweep, settings.epochs
    again = ", and the chosen one again on train + validation"
    seeds = f"{settings.seeds} seeds{again if settings.refit else ''}"
    if settings.search == "rates":
        rates = settings.optimizer.learning_rates
        return [
            f"search    {len(rates)} learning rates from {min(rates):g} to "
            f"{max(rates):g}, then the best with {seeds}"
        ]
    later = f" and {sweep.tpe} of TPE, {sweep.tpe_at_once} at a time"
    best = f"the best {sweep.top}" if sweep.top > 1 else "the best"
    lines = [
        f"search    {sweep.sobol} trials of a Sobol sequence"
        f"{later if sweep.tpe else ''}, then {best} with {seeds}"
    ]
    of_range: dict[tuple[float, float], list[str]] = {}
    for name in probes:
        of_range.setdefault(sweep.rates_for(name), []).append(name)
    for (low, high), names in of_range.items():
        lines.append(
            f"          learning rates {low:g} to {high:g} for {', '.join(names)}"
        )
    *rungs, _ = rung_epochs(epochs, sweep.halvings, sweep.reduction)
    if rungs:
        share = share_of_epochs(epochs, sweep.halvings, sweep.reduction)
        lines.append(
            f"          one in {sweep.reduction} is promoted after "
            f"{' and '.join(map(str, rungs))} of {epochs} epochs: about "
            f"{100 * share:.0f} % of the epochs of all trials are trained"
        )
    return lines


def _stack(setup: Setup, probe: Probe, mesh: Mesh) -> tuple[int, Sharding, str]:
    """The stack of trials whose step is to be measured.

    It has as many trials as are trained together: all learning rates, or of a sweep
    what TPE proposes at a time. The first round of a sweep is wider, but halving soon
    makes it as narrow.

    Returns:
        The number of trials, how devices share them, and how many fit, in words.
    """
    settings, sweep = setup.settings, setup.settings.sweep
    if settings.search == "rates":
        count = len(settings.optimizer.learning_rates)
        return count, Sharding(mesh), f"{count} trials at once"
    clips = sum(setup.dataset.splits[s] for s in setup.protocols[0].train)
    room = trials_at_once(_task(setup, probe, clips), settings, mesh)
    count = min(sweep.tpe_at_once, sweep.sobol + sweep.tpe, room)
    sharding = Sharding.for_trials(mesh, count)
    if sharding.splits_trials:
        count = -(-count // mesh.size) * mesh.size
    each = min(-(-sweep.widest // mesh.size), room // mesh.size)
    where = "one device" if mesh.size == 1 else f"each of {mesh.size} devices"
    free = f"{room // mesh.size:,} in memory that is free now"
    return (
        count,
        sharding,
        f"up to {each} trials at once on {where} (room for {free})",
    )


def trainings_of(settings: Experiment) -> float:
    """How many whole trainings of one trial a search and its final runs amount to."""
    again = float(settings.seeds * settings.refit)
    if settings.search == "rates":
        return len(settings.optimizer.learning_rates) + settings.seeds - 1 + again
    sweep = settings.sweep
    share = share_of_epochs(settings.epochs, sweep.halvings, sweep.reduction)
    return (sweep.sobol + sweep.tpe) * share + sweep.top * settings.seeds + again


def finished_probes(
    setup: Setup, workdir: str | os.PathLike[str]
) -> set[tuple[str, str]]:
    """The (probe, protocol) pairs whose records are all in `workdir`."""
    folder = Workdir.results_of(workdir)
    return {
        (name, p.name)
        for name in setup.probes
        for p in setup.protocols
        if finished(setup, folder, name, p)
    }


def step_seconds(
    setup: Setup, probe: Probe, sharding: Sharding, count: int
) -> tuple[float, int]:
    """Measures a step of stacked trials on zeros.

    Args:
        setup: The opened experiment.
        probe: One of its probes.
        sharding: The way in which the devices share the work.
        count: The number of trials.

    Returns:
        Seconds per step, and the number of parameters of one trial.
    """
    settings = setup.settings
    # A batch has no more clips than the largest training split.
    clips = max(sum(setup.dataset.splits[s] for s in p.train) for p in setup.protocols)
    task = _task(setup, probe, min(settings.batch_size, clips))
    steps = TimedSteps(task, settings, sharding, count)
    return _seconds(steps.run), steps.parameters


def _task(setup: Setup, probe: Probe, clips: int) -> loop.Task:
    """The training of a probe on so many clips, all zero."""
    zeros = Zeros(setup, probe, clips)
    return loop.Task("plan", setup.task, probe, setup.loss, zeros, None)


def _seconds(call: Callable[[], Any], repeats: int = 2) -> float:
    """Seconds of one call, after a first one that compiles."""
    jax.block_until_ready(call())
    start = time.monotonic()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.monotonic() - start) / repeats
