"""One run from audio files to a table: embed once, train, choose, test, record."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import event_scores, parallel, predictions, results, trained
from unmute_jax.datasets import Protocol
from unmute_jax.embedding import embed
from unmute_jax.probes import probe_options
from unmute_jax.token_key import plain
from unmute_jax.token_store import TokenStore
from unmute_jax.training import frame_scores, loop, selection, trials
from unmute_jax.training.finalists import Finalists, fit, train
from unmute_jax.training.inputs import Inputs
from unmute_jax.training.materials import (
    Materials,
    changed_options,
    record_key,
    seeds_of,
    sources,
)
from unmute_jax.training.protocol_data import ProtocolData
from unmute_jax.training.workdir import Workdir

Say = Callable[[str], None]


def run(
    materials: Materials, workdir: Workdir, *, explain: bool = False, say: Say = print
) -> list[results.Record]:
    """Runs the experiment, or what is missing of it; returns all its records.

    Args:
        materials: From `prepare`.
        workdir: Where it writes.
        explain: Say why tokens of an earlier run could not be used.
        say: Where lines for a person go.
    """
    settings = materials.settings
    mesh = parallel.make_mesh(settings.devices or None)
    # Checkpoints must never go on with other data, or with tokens of other weights.
    workdir.pin("sources", sources(materials))
    data = materials.dataset
    say(f"data of {data.name}: {data.source}; licence {data.licence}")
    needed = {
        split: None
        for p in materials.protocols
        for split in (*p.train, *p.validation, *p.test)
    }
    stores = embed_all(materials, needed, mesh, explain, say)
    found: list[results.Record] = []
    for protocol in materials.protocols:
        data = ProtocolData(protocol, stores, settings.standardise, settings.frame_rule)
        for name in materials.probes:
            done = parallel.decided(
                lambda name=name, protocol=protocol: finished(
                    materials, workdir.results, name, protocol
                )
            )
            found += done or _run_probe(materials, workdir, name, data, mesh)
    return found


def embed_all(
    materials: Materials,
    splits: Iterable[str],
    mesh: Mesh,
    explain: bool = False,
    say: Say = print,
) -> dict[str, TokenStore]:
    """The tokens of some splits, kept where every run finds them.

    Args:
        materials: From `prepare`.
        splits: Of the data set.
        mesh: Devices for the encoder.
        explain: Say why tokens of an earlier run could not be used.
        say: Where lines for a person go.
    """
    tokens = materials.settings.tokens
    return {
        split: embed(
            materials.encoder,
            materials.dataset,
            split,
            dtype=tokens.dtype,
            layers=materials.reads_layers,
            lengths=tokens.lengths,
            batch_size=tokens.batch_size,
            mesh=mesh,
            explain=explain,
            say=say,
        )
        for split in splits
    }


def finished(
    materials: Materials, folder: pathlib.Path, name: str, protocol: Protocol
) -> list[results.Record]:
    """The records in `folder` of a probe that was run before; none unless all are."""
    paths = [
        folder / results.record_name(**record_key(materials, name, protocol, seed))
        for seed in seeds_of(materials, name)
    ]
    if not all(p.exists() for p in paths):
        return []
    return [results.read_record(p) for p in paths]


def _run_probe(
    materials: Materials, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> list[results.Record]:
    """Trains, chooses, tests once and records; nothing of it is repeated later."""
    find = fit if materials.probes[name].is_fitted else train
    finalists = find(materials, workdir, name, data, mesh)
    records = _test_probe(materials, name, data, mesh, finalists, workdir.predictions)
    if parallel.is_writer():
        for k, record in enumerate(records):
            probe = _trained(materials, record, data, finalists, k)
            trained.save(workdir.probes, probe)
        for record in records:
            results.write_record(workdir.results, record)
    return records


def _test_probe(
    materials: Materials,
    name: str,
    data: ProtocolData,
    mesh: Mesh,
    found: Finalists,
    keep: pathlib.Path,
) -> list[results.Record]:
    """The one look at the test split; logits of clips are kept in a folder."""
    settings, probe, dataset = (
        materials.settings,
        materials.probes[name],
        materials.dataset,
    )
    params = parallel.replicate(found.params, mesh)

    def logits_of(clips: Inputs) -> np.ndarray:
        return loop.logits(probe, params, clips, settings.batch_size, mesh)

    # Thresholds are chosen before the test split is read.
    chosen = None
    if settings.frame_rule is not None:
        validation = data.development(probe.reads)[1]
        chosen = [
            frame_scores.thresholds(x, validation, settings.frames)
            for x in np.moveaxis(logits_of(validation), 1, 0)
        ]
    held_out = data.held_out(probe.reads)
    logits = logits_of(held_out)
    judged, truth = held_out.judged(logits)
    records = []
    for k, seed in enumerate(seeds_of(materials, name)):
        choice, more, least = found.choices[k], {}, {}
        tested = selection.score_held_out(choice, judged[:, k], truth, materials.task)
        if chosen is not None:
            least = dict(zip(dataset.classes, map(float, chosen[k]), strict=True))
            more = frame_scores.scores(
                logits[:, k], held_out, chosen[k], dataset.classes, settings.frames
            )
        records.append(
            results.Record(
                **record_key(materials, name, data.protocol, seed),
                source=dataset.source,
                probe_options=changed_options(settings, name),
                metric=materials.metric,
                parameters=(
                    0 if probe.is_fitted else trials.count_parameters(found.params)
                ),
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
                facts=_facts(materials, data, mesh),
                notes=_notes(materials, name, found, tested.masked_classes),
            )
        )
        if not held_out.is_framewise and parallel.is_writer():
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
    materials: Materials,
    record: results.Record,
    data: ProtocolData,
    found: Finalists,
    k: int,
) -> trained.TrainedProbe:
    """The `k`-th finalist, with all it takes to use it elsewhere."""
    probe, dataset = materials.probes[record.probe], materials.dataset
    encoder = materials.encoder
    return trained.TrainedProbe(
        name=record.probe,
        options={o: getattr(probe, o) for o in sorted(probe_options(record.probe))},
        params=jax.tree.map(lambda x: x[k], found.params),
        standardiser=data.standardiser,
        classes=dataset.classes,
        task=materials.task,
        encoder=plain(encoder.identity()),
        encoder_description=encoder.description,
        geometry=encoder.geometry,
        dtype=materials.settings.tokens.dtype,
        dataset=dataset.name,
        protocol=record.protocol,
        clip_seconds=dataset.clip_seconds,
        seed=record.seed,
        validation=record.validation,
        settings=record.settings,
    )


def _facts(materials: Materials, data: ProtocolData, mesh: Mesh) -> dict:
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
        **sources(materials),
        "devices": f"{mesh.size} x {device.device_kind}",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("unmute-jax", "jax", "flax", "optax", "numpy")
        },
    }


def _notes(
    materials: Materials, name: str, found: Finalists, masked: int
) -> tuple[str, ...]:
    rates = [t["learning_rate"] for t in found.search]
    notes = list(materials.dataset.notes)
    if masked and materials.task == "multi-label":
        notes.append(f"mAP leaves out {masked} classes without a positive test clip")
    if materials.settings.frame_rule is not None and not event_scores.is_available():
        notes.append(event_scores.MISSING)
    best = found.best.learning_rate if found.best else None
    if best and len(rates) > 1 and best in (min(rates), max(rates)):
        notes.append(
            f"{name}: the best learning rate ({best:g}) is at the edge of those tried"
        )
    return tuple(notes)
