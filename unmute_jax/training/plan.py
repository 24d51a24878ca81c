"""What a run would do, in words, before it does any of it."""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from unmute_jax import parallel
from unmute_jax.config import Experiment
from unmute_jax.embedding import default_batch_size, estimate
from unmute_jax.encoders import Encoder
from unmute_jax.probes import Probe
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training import search, stacking
from unmute_jax.training.experiment import finished
from unmute_jax.training.inputs import Inputs, steps_per_epoch, what_is_read
from unmute_jax.training.materials import Materials
from unmute_jax.training.workdir import Workdir


def describe(materials: Materials, workdir: str | os.PathLike[str]) -> str:
    """Data, tokens, training, reuse and time, one line each.

    One batch of the encoder and one step of each probe are run on zeros to measure
    them; nothing is written. Times are what this machine did a moment ago.
    """
    mesh = parallel.make_mesh(materials.settings.devices or None)
    lines = [*_data(materials), *_tokens(materials, mesh)]
    lines += _training(materials, workdir, mesh)
    return "\n".join(lines)


def _data(materials: Materials) -> list[str]:
    d = materials.dataset
    sizes = ", ".join(f"{s} {n}" for s, n in d.splits.items())
    lines = [
        f"data      {d.name} ({d.source}): {d.task}, {len(d.classes)} classes, "
        f"clips of up to {d.clip_seconds:g} s: {sizes}",
    ]
    lines += [f"          {note}" for note in d.notes]
    for p in materials.protocols:
        lines.append(
            f"protocol  {p.name}: train {'+'.join(p.train)}, validation "
            f"{'+'.join(p.validation)}, test {'+'.join(p.test)}"
        )
    return lines


def _tokens(materials: Materials, mesh: Mesh) -> list[str]:
    settings, encoder = materials.settings, materials.encoder
    t, f = encoder.grid(materials.dataset.clip_seconds)
    lines = [
        f"encoder   {encoder.description}: {t} x {f} tokens of {encoder.num_features}, "
        f"stored as {settings.tokens.dtype}"
    ]
    splits = {
        s: None for p in materials.protocols for s in (*p.train, *p.validation, *p.test)
    }
    missing = 0
    for split in splits:
        found = estimate(
            encoder,
            materials.dataset,
            split,
            dtype=settings.tokens.dtype,
            layers=materials.reads_layers,
            lengths=settings.tokens.lengths,
        )
        missing += 0 if found["exists"] else found["clips"] - found["resumable"]
        state = (
            "will be reused"
            if found["exists"]
            else f"to be made ({found['resumable']} of {found['clips']} clips done)"
        )
        size = f"{found['bytes'] / 1e6:,.0f} MB"
        lines.append(f"tokens    {split}: {found['clips']} clips, {size}, {state}")
    if missing and isinstance(encoder, Encoder):
        rate = encoder_rate(materials, encoder, mesh)
        lines.append(
            f"          about {missing / rate:.0f} s to make them ({rate:.3g} clips/s)"
        )
    return lines


def encoder_rate(materials: Materials, encoder: Encoder, mesh: Mesh) -> float:
    """Clips per second of the warm encoder on zeros, all as long as the longest."""
    size = materials.settings.tokens.batch_size or default_batch_size()
    mesh = parallel.local_mesh(mesh)
    width = -(-size // mesh.size) * mesh.size
    samples = encoder.input_samples(materials.dataset.clip_seconds)
    zeros = np.zeros((width, samples), np.float32), np.full(width, samples, np.int32)
    encode = encoder.on(mesh)
    return width / _seconds(lambda: encode(*zeros))


def _training(
    materials: Materials, workdir: str | os.PathLike[str], mesh: Mesh
) -> list[str]:
    settings, mine = materials.settings, materials.dataset.splits
    done = finished_probes(materials, workdir)
    times, total, lines = trainings_of(settings), 0.0, list[str]()
    if not all(probe.is_fitted for probe in materials.probes.values()):
        lines += _search(settings)
    for name, probe in materials.probes.items():
        if probe.is_fitted:
            lines.append(f"training  {name}: nothing to train")
            continue
        count, spread, together = _stack(materials, probe, mesh)
        step, size = step_seconds(materials, probe, mesh, count, spread=spread)
        steps = [
            settings.epochs
            * steps_per_epoch(sum(mine[s] for s in p.train), settings.batch_size)
            for p in materials.protocols
            if (name, p.name) not in done
        ]
        # As if a trial took the same share of a step in any stack.
        seconds = sum(steps) * step / count * times
        total += seconds
        lines.append(
            f"training  {name}: {size:,} parameters, {sum(steps)} steps of "
            f"{settings.batch_size} clips {times:.3g} times, {together}: "
            f"about {seconds:.0f} s"
        )
    lines += [f"          {n} on {p} is finished and reused" for n, p in sorted(done)]
    where = os.fspath(workdir)
    lines.append(f"in all    about {total:.0f} s of training; written to {where}/")
    return lines


def _search(settings: Experiment) -> list[str]:
    """Which trials there are of each probe."""
    sweep, epochs = settings.sweep, settings.epochs
    again = ", and the chosen one again on train + validation"
    seeds = f"{settings.seeds} seeds{again if settings.refit else ''}"
    if settings.search == "rates":
        rates = len(settings.optimizer.learning_rates)
        return [f"search    {rates} learning rates, then the best with {seeds}"]
    later = f" and {sweep.tpe} of TPE, {sweep.tpe_at_once} at a time"
    best = f"the best {sweep.top}" if sweep.top > 1 else "the best"
    lines = [
        f"search    {sweep.sobol} trials of a Sobol sequence"
        f"{later if sweep.tpe else ''}, then {best} with {seeds}"
    ]
    *rungs, _ = search.rungs(epochs, sweep.halvings, sweep.reduction)
    if rungs:
        share = search.share_of_epochs(epochs, sweep.halvings, sweep.reduction)
        lines.append(
            f"          one in {sweep.reduction} goes on after "
            f"{' and '.join(map(str, rungs))} of {epochs} epochs: about "
            f"{100 * share:.0f} % of the epochs of all trials are trained"
        )
    return lines


def _stack(materials: Materials, probe: Probe, mesh: Mesh) -> tuple[int, bool, str]:
    """Of how many trials to measure a step.

    As many as are trained together: all rates, or of a sweep what TPE proposes at a
    time. Its first round is wider, but soon as narrow as that.

    Returns:
        The number, whether devices share out trials, and how many fit together.
    """
    settings, sweep = materials.settings, materials.settings.sweep
    if settings.search == "rates":
        count = len(settings.optimizer.learning_rates)
        return count, False, f"{count} trials at once"
    clips = sum(materials.dataset.splits[s] for s in materials.protocols[0].train)
    chosen = probe, materials.loss, Zeros(materials, probe, clips), settings, mesh
    room = parallel.lowest(stacking.trials_at_once(*chosen))
    count = min(sweep.tpe_at_once, sweep.sobol + sweep.tpe, room)
    spread = 1 < mesh.size <= count
    if spread:
        count = -(-count // mesh.size) * mesh.size
    each = min(-(-sweep.widest // mesh.size), room // mesh.size)
    where = "one device" if mesh.size == 1 else f"each of {mesh.size} devices"
    free = f"{room // mesh.size:,} in memory that is free now"
    return count, spread, f"up to {each} trials at once on {where} (room for {free})"


def trainings_of(settings: Experiment) -> float:
    """Whole trainings of one trial that a search and its repeats amount to."""
    again = float(settings.seeds * settings.refit)
    if settings.search == "rates":
        return len(settings.optimizer.learning_rates) + settings.seeds - 1 + again
    sweep = settings.sweep
    share = search.share_of_epochs(settings.epochs, sweep.halvings, sweep.reduction)
    return (sweep.sobol + sweep.tpe) * share + sweep.top * settings.seeds + again


def finished_probes(
    materials: Materials, workdir: str | os.PathLike[str]
) -> set[tuple[str, str]]:
    """The (probe, protocol) pairs whose records are in `workdir`."""
    results = Workdir.results_of(workdir)
    return {
        (name, p.name)
        for name in materials.probes
        for p in materials.protocols
        if finished(materials, results, name, p)
    }


def step_seconds(
    materials: Materials, probe: Probe, mesh: Mesh, count: int, *, spread: bool = False
) -> tuple[float, int]:
    """Seconds per step of `count` stacked trials on zeros; parameters of one of them.

    Args:
        materials: From `prepare`.
        probe: One of theirs.
        mesh: The devices.
        count: Of trials.
        spread: Devices share out the trials, not the batch, as of `trials.make_step`;
            `count` is then a multiple of their number.
    """
    settings = materials.settings
    clips = Zeros(materials, probe, settings.batch_size)
    chosen = probe, materials.loss, clips, settings, mesh, count
    steps = stacking.Steps(*chosen, spread=spread)
    return _seconds(steps.run), steps.parameters


class Zeros(Inputs):
    """Clips of which only the sizes are known, before there are any tokens."""

    def __init__(self, materials: Materials, probe: Probe, count: int):
        """`count` clips of the data set, as `probe` reads them, all zero."""
        steps, _ = materials.encoder.grid(materials.dataset.clip_seconds)
        framewise = materials.settings.frame_rule is not None
        examples = (count, steps) if framewise else (count,)
        classes = len(materials.dataset.classes)
        self.ids, self.events = [""] * count, [()] * count
        self.labels = np.zeros((count, classes), np.float32)
        self.targets = np.zeros((*examples, classes), np.float32)
        self.weights = np.ones(examples, np.float32)
        self.seconds_per_step = materials.encoder.geometry.seconds_per_step
        self._read = functools.partial(zeros_for, materials, probe)
        self._held, self._resident = None, {}

    def read(self, rows: Int[np.ndarray, "B"]) -> Tokens | Summary:
        """As many clips as there are `rows`."""
        return self._read(len(rows))


def zeros_for(materials: Materials, probe: Probe, b: int) -> Tokens | Summary:
    """What the probe reads of `b` clips, all zero."""
    t, f = materials.encoder.grid(materials.dataset.clip_seconds)
    d = materials.encoder.num_features
    vector = np.zeros((b, d), np.float32)
    reads = what_is_read(probe.reads, materials.settings.frame_rule)
    if reads == "summary":
        bands = np.zeros((b, f, d), np.float32)
        return Summary(*[vector] * 4, *[bands] * 3)
    l, dtype = materials.encoder.num_layers, materials.settings.tokens.dtype
    wants_layers = probe.reads == "layers"
    is_int8 = dtype == "int8"
    return Tokens(
        patches=np.zeros((b, t, f, d), jnp.dtype(dtype)),
        scales=np.ones((b, t, f), np.float32) if is_int8 else None,
        cls=vector,
        mask=np.ones((b, t), bool),
        inverse_norms=np.ones((b, t, f), np.float32),
        layers=np.zeros((b, l, t, f, d), jnp.dtype(dtype)) if wants_layers else None,
        layer_cls=np.zeros((b, l, d), np.float32) if wants_layers else None,
        layer_scales=(
            np.ones((b, l, t, f), np.float32) if wants_layers and is_int8 else None
        ),
    )


def _seconds(call: Any, repeats: int = 2) -> float:
    """Of one warm call."""
    jax.block_until_ready(call())
    start = time.monotonic()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.monotonic() - start) / repeats
