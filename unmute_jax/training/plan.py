"""What a run would do, in words, before it does any of it."""

from __future__ import annotations

import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from unmute_jax import parallel
from unmute_jax.embedding import default_batch_size, estimate
from unmute_jax.encoders import Encoder
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training import trials
from unmute_jax.training.experiment import finished
from unmute_jax.training.inputs import Batch, pack, steps_per_epoch, what_is_read
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
    settings = materials.settings
    rates, count = settings.optimizer.learning_rates, settings.seeds
    done = finished_probes(materials, workdir)
    lines, total = [], 0.0
    for name, probe in materials.probes.items():
        if probe.is_fitted:
            lines.append(f"training  {name}: nothing to train")
            continue
        step, size = step_seconds(materials, probe, mesh)
        steps = [
            settings.epochs
            * steps_per_epoch(
                sum(materials.dataset.splits[s] for s in p.train), settings.batch_size
            )
            for p in materials.protocols
            if (name, p.name) not in done
        ]
        # The other seeds are a second, narrower stack.
        passes = 1 + (count - 1) / len(rates) + settings.refit * count / len(rates)
        seconds = sum(steps) * step * passes
        total += seconds
        lines.append(
            f"training  {name}: {size:,} parameters, {len(rates)} learning rates, then "
            f"{count} seeds, {sum(steps)} steps of {settings.batch_size} clips each: "
            f"about {seconds:.0f} s"
        )
    lines += [f"          {n} on {p} is finished and reused" for n, p in sorted(done)]
    where = os.fspath(workdir)
    lines.append(f"in all    about {total:.0f} s of training; written to {where}/")
    return lines


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


def step_seconds(materials: Materials, probe: Any, mesh: Mesh) -> tuple[float, int]:
    """Seconds per step of the stacked rates on zeros; parameters of one trial."""
    settings = materials.settings
    stack = tuple(
        trials.Trial(learning_rate=r, weight_decay=0.0, seed=0)
        for r in settings.optimizer.learning_rates
    )
    example = jax.tree.map(jnp.asarray, zeros_for(materials, probe, 1))
    state = trials.init_state(probe, example, stack, settings.optimizer)
    size = trials.count_parameters(state.params)
    state = parallel.replicate(state, mesh)
    step = trials.make_step(probe, materials.loss, 100, settings.optimizer, mesh)
    b = -(-settings.batch_size // mesh.size) * mesh.size
    framewise = settings.frame_rule is not None
    steps, _ = materials.encoder.grid(materials.dataset.clip_seconds)
    examples = (b, steps) if framewise else (b,)
    targets = np.zeros((*examples, len(materials.dataset.classes)), np.float32)
    packed = pack(zeros_for(materials, probe, b))
    whole = Batch(packed, targets, np.ones(examples, np.float32))
    batch = parallel.shard(parallel.local_rows(whole), mesh)

    def once() -> Any:
        nonlocal state
        state = step(state, batch)
        return state.count

    return _seconds(once), size


def zeros_for(materials: Materials, probe: Any, b: int) -> Tokens | Summary:
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
