"""One run from audio files to a table: embed once, train, choose, test, record."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed, results
from unmute_jax.datasets import Protocol
from unmute_jax.metrics.events import MISSING_SED_EVAL, has_sed_eval
from unmute_jax.probes import probe_options
from unmute_jax.results import predictions, trained
from unmute_jax.store.embed import embed
from unmute_jax.store.key import plain
from unmute_jax.store.reader import TokenStore
from unmute_jax.training import frame_scores, loop, selection
from unmute_jax.training.batches import ProbeData
from unmute_jax.training.final_runs import FinalRuns, fit, train
from unmute_jax.training.setup import (
    ProtocolData,
    Setup,
    changed_options,
    record_key,
    seeds_of,
    sources,
)
from unmute_jax.training.step import count_parameters
from unmute_jax.training.workdir import Workdir

Log = Callable[[str], None]


def run_experiment(
    setup: Setup, workdir: Workdir, *, explain: bool = False, log: Log = print
) -> list[results.Record]:
    """Runs the experiment, or what is missing of it; returns all its records.

    Args:
        setup: From `prepare`.
        workdir: Where it writes.
        explain: Say why tokens of an earlier run could not be used.
        log: Where lines for a person go.
    """
    settings = setup.settings
    mesh = distributed.make_mesh(settings.devices or None)
    # Checkpoints must never go on with other data, or with tokens of other weights.
    workdir.pin("sources", sources(setup))
    data = setup.dataset
    log(f"data of {data.name}: {data.source}; licence {data.licence}")
    needed = {
        split: None
        for p in setup.protocols
        for split in (*p.train, *p.validation, *p.test)
    }
    stores = embed_all(setup, needed, mesh, explain, log)
    found: list[results.Record] = []
    for protocol in setup.protocols:
        data = ProtocolData(protocol, stores, settings.standardise, settings.frame_rule)
        for name in setup.probes:
            done = distributed.broadcast_from_writer(
                lambda name=name, protocol=protocol: finished(
                    setup, workdir.results, name, protocol
                )
            )
            found += done or _run_probe(setup, workdir, name, data, mesh)
    return found


def embed_all(
    setup: Setup,
    splits: Iterable[str],
    mesh: Mesh,
    explain: bool = False,
    log: Log = print,
) -> dict[str, TokenStore]:
    """The tokens of some splits, kept where every run finds them.

    Args:
        setup: From `prepare`.
        splits: Of the data set.
        mesh: Devices for the encoder.
        explain: Say why tokens of an earlier run could not be used.
        log: Where lines for a person go.
    """
    tokens = setup.settings.tokens
    return {
        split: embed(
            setup.encoder,
            setup.dataset,
            split,
            dtype=tokens.dtype,
            layers=setup.reads_layers,
            lengths=tokens.lengths,
            batch_size=tokens.batch_size,
            mesh=mesh,
            explain=explain,
            log=log,
        )
        for split in splits
    }


def finished(
    setup: Setup, folder: pathlib.Path, name: str, protocol: Protocol
) -> list[results.Record]:
    """The records in `folder` of a probe that was run before; none unless all are."""
    paths = [
        folder / results.record_name(**record_key(setup, name, protocol, seed))
        for seed in seeds_of(setup, name)
    ]
    if not all(p.exists() for p in paths):
        return []
    return [results.read_record(p) for p in paths]


def _run_probe(
    setup: Setup, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> list[results.Record]:
    """Trains, chooses, tests once and records; nothing of it is repeated later."""
    find = fit if setup.probes[name].is_fitted else train
    final_runs = find(setup, workdir, name, data, mesh)
    records = _test_probe(setup, name, data, mesh, final_runs, workdir.predictions)
    if distributed.is_writer():
        for k, record in enumerate(records):
            probe = _trained(setup, record, data, final_runs, k)
            trained.save(workdir.probes, probe)
        for record in records:
            results.write_record(workdir.results, record)
    return records


def _test_probe(
    setup: Setup,
    name: str,
    data: ProtocolData,
    mesh: Mesh,
    found: FinalRuns,
    keep: pathlib.Path,
) -> list[results.Record]:
    """The one look at the test split; logits of clips are kept in a folder."""
    settings, probe, dataset = (
        setup.settings,
        setup.probes[name],
        setup.dataset,
    )
    params = distributed.replicate(found.params, mesh)

    def logits_of(clips: ProbeData) -> np.ndarray:
        return loop.logits(probe, params, clips, settings.batch_size, mesh)

    # Thresholds are chosen before the test split is read.
    chosen = None
    if settings.frame_rule is not None:
        validation = data.development(probe.input_kind)[1]
        chosen = [
            frame_scores.thresholds(x, validation, settings.frames)
            for x in np.moveaxis(logits_of(validation), 1, 0)
        ]
    held_out = data.held_out(probe.input_kind)
    logits = logits_of(held_out)
    flatten_valid, truth = held_out.flatten_valid(logits)
    records = []
    for k, seed in enumerate(seeds_of(setup, name)):
        choice, more, least = found.choices[k], {}, {}
        tested = selection.score_held_out(
            choice, flatten_valid[:, k], truth, setup.task
        )
        if chosen is not None:
            least = dict(zip(dataset.classes, map(float, chosen[k]), strict=True))
            more = frame_scores.scores(
                logits[:, k], held_out, chosen[k], dataset.classes, settings.frames
            )
        records.append(
            results.Record(
                **record_key(setup, name, data.protocol, seed),
                source=dataset.source,
                probe_options=changed_options(settings, name),
                metric=setup.metric,
                parameters=(0 if probe.is_fitted else count_parameters(found.params)),
                learning_rate=found.best.learning_rate if found.best else None,
                weight_decay=found.best.weight_decay if found.best else 0.0,
                epoch=choice.epoch,
                validation=choice.validation,
                test=tested.value,
                per_class=dict(zip(dataset.classes, tested.per_class, strict=True)),
                masked_classes=tested.masked_classes,
                more=more,
                thresholds=least,
                search=found.search,
                seconds=found.seconds,
                settings=settings.to_dict(),
                facts=_facts(setup, data, mesh),
                notes=_notes(setup, name, found, tested.masked_classes),
            )
        )
        if not held_out.is_framewise and distributed.is_writer():
            predictions.write_predictions(
                keep,
                records[-1].file_name(),
                held_out.ids,
                dataset.groups,
                held_out.labels,
                logits[:, k],
            )
    return records


def _trained(
    setup: Setup,
    record: results.Record,
    data: ProtocolData,
    found: FinalRuns,
    k: int,
) -> trained.TrainedProbe:
    """The `k`-th finalist, with all it takes to use it elsewhere."""
    probe, dataset = setup.probes[record.probe], setup.dataset
    encoder = setup.encoder
    return trained.TrainedProbe(
        name=record.probe,
        options={o: getattr(probe, o) for o in sorted(probe_options(record.probe))},
        params=jax.tree.map(lambda x: x[k], found.params),
        normaliser=data.normaliser,
        classes=dataset.classes,
        task=setup.task,
        encoder=plain(encoder.identity()),
        encoder_description=encoder.description,
        geometry=encoder.geometry,
        dtype=setup.settings.tokens.dtype,
        dataset=dataset.name,
        protocol=record.protocol,
        clip_seconds=dataset.clip_seconds,
        seed=record.seed,
        validation=record.validation,
        settings=record.settings,
    )


def _facts(setup: Setup, data: ProtocolData, mesh: Mesh) -> dict:
    """What the numbers depend on besides the settings."""
    p = data.protocol
    device = jax.devices()[0]
    return {
        "splits": {
            "train": list(p.train),
            "validation": list(p.validation),
            "test": list(p.test),
        },
        "clips": {s: data.stores[s].n for s in (*p.train, *p.validation, *p.test)},
        **sources(setup),
        "devices": f"{mesh.size} x {device.device_kind}",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("unmute-jax", "jax", "flax", "optax", "numpy")
        },
    }


def _notes(setup: Setup, name: str, found: FinalRuns, masked: int) -> tuple[str, ...]:
    rates = [t["learning_rate"] for t in found.search]
    notes = list(setup.dataset.notes)
    if masked and setup.task == "multi-label":
        notes.append(f"mAP leaves out {masked} classes without a positive test clip")
    if setup.settings.frame_rule is not None and not has_sed_eval():
        notes.append(MISSING_SED_EVAL)
    best = found.best.learning_rate if found.best else None
    if best and len(rates) > 1 and best in (min(rates), max(rates)):
        notes.append(
            f"{name}: the best learning rate ({best:g}) is at the edge of those tried"
        )
    return tuple(notes)
