"""Runs an experiment, from audio files to records of test scores."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed, results
from unmute_jax.console import inform
from unmute_jax.datasets import Protocol
from unmute_jax.metrics.events import MISSING_SED_EVAL, has_sed_eval
from unmute_jax.probes import probe_options
from unmute_jax.results import predictions, trained
from unmute_jax.results.places import hide_places, without_places
from unmute_jax.results.ranges import at_edge
from unmute_jax.results.typed_json import DamagedFile
from unmute_jax.store.clip_lengths import length_notes
from unmute_jax.store.embed import embed
from unmute_jax.store.key import Kept, as_json
from unmute_jax.store.reader import TokenStore
from unmute_jax.training import frame_scores, loop, selection
from unmute_jax.training.data import ProbeData, ProtocolData
from unmute_jax.training.final_runs import FinalRuns, ProbeRun, fit_probe, train_probe
from unmute_jax.training.length import few_steps
from unmute_jax.training.setup import Setup, changed_options
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import count_parameters
from unmute_jax.training.workdir import Workdir

Log = Callable[[str], None]
_log = logging.getLogger(__name__)


def run_experiment(
    setup: Setup, workdir: Workdir, *, explain: bool = False, log: Log = inform
) -> list[results.Record]:
    """Runs what is missing of an experiment, and returns all its records.

    Args:
        setup: The opened experiment.
        workdir: The folder of the run.
        explain: Whether to log why tokens of an earlier run could not be used.
        log: A function that is called with lines for the user.
    """
    settings, dataset = setup.settings, setup.dataset
    mesh = distributed.make_mesh(settings.devices or None)
    # A checkpoint must not be continued on other data, or on tokens of other weights.
    workdir.pin("sources", setup.sources())
    log(f"data of {dataset.name}: {dataset.source}; licence {dataset.licence}")
    stores = {
        kept.layer: embed_all(setup, kept, setup.splits, mesh, explain, log)
        for kept in setup.kept
    }

    records: list[results.Record] = []
    for protocol in setup.protocols:
        data = ProtocolData(protocol, stores, settings.standardise, settings.frame_rule)
        for name, probe in setup.probes.items():
            # A probe that an earlier run has finished.
            done = distributed.broadcast_from_writer(
                lambda name=name, protocol=protocol: finished(
                    setup, workdir.results, name, protocol
                )
            )
            if done:
                records += done
                continue

            # Train and choose, then look at the test split once.
            run = ProbeRun(setup, workdir, name, data, mesh)
            runs = fit_probe(run) if probe.is_fitted else train_probe(run)
            tested = _test(run, runs)

            # Write the records last: they say that the probe is finished.
            if distributed.is_writer():
                for k, record in enumerate(tested):
                    probe_file = _trained_probe(run, runs, record, k)
                    path = workdir.probes / probe_file.file_name
                    trained.write_trained(path, probe_file)
                for record in tested:
                    results.write_record(workdir.results, record)
            records += [
                dataclasses.replace(r, path=workdir.results / r.file_name())
                for r in tested
            ]
    return records


def embed_all(
    setup: Setup,
    kept: Kept,
    splits: Iterable[str],
    mesh: Mesh,
    explain: bool = False,
    log: Log = inform,
) -> dict[str, TokenStore]:
    """The token stores of some splits; what is missing is embedded.

    Args:
        setup: The opened experiment.
        kept: Layers that the stores keep, one of `setup.kept`.
        splits: Splits of its data set.
        mesh: The devices for the encoder.
        explain: Whether to log why tokens of an earlier run could not be used.
        log: A function that is called with lines for the user.
    """
    tokens = setup.settings.tokens
    for note in length_notes(setup.encoder, setup.dataset, tokens.lengths):
        log(f"note: {note}")
    return {
        split: embed(
            setup.encoder,
            setup.dataset,
            split,
            dtype=tokens.dtype,
            kept=kept,
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
    """The records of a probe in `folder`; none unless all of its seeds have one.

    There are none either if one of them, or the logits that belong to it, is damaged:
    the probe is trained again, from its checkpoints if these are left.
    """
    paths = [
        folder / results.record_name(**setup.record_key(name, protocol, seed))
        for seed in setup.seeds(name)
    ]
    if not all(p.exists() for p in paths):
        return []
    try:
        for path in paths:
            logits = predictions.path_of(folder.parent / "predictions", path.name)
            if logits.exists():
                predictions.read_predictions(logits)
        records = [results.read_record(p) for p in paths]
        for record, path in zip(records, paths, strict=True):
            if record.file_name() != path.name:
                raise DamagedFile(f"{path}: is the record of another training")
        return records
    except DamagedFile as error:
        _log.warning("%s: it is made again", error)
        return []


def _test(run: ProbeRun, runs: FinalRuns) -> list[results.Record]:
    """Scores the final runs on the test split, the only time that it is read.

    The logits are written to the folder of the run, unless they are very many.
    """
    setup, settings, data = run.setup, run.setup.settings, run.data
    probe, classes = runs.probe, setup.dataset.classes
    params = distributed.replicate(runs.params, run.mesh)

    def logits_of(clips: ProbeData) -> np.ndarray:
        size, sharding = settings.batch_size, Sharding(run.mesh)
        return loop.logits(probe, params, clips, size, sharding)

    # Thresholds are chosen before the test split is read.
    thresholds = None
    if settings.frame_rule is not None:
        validation = data.development(run.reading)[1]
        thresholds = [
            frame_scores.thresholds(x, validation, settings.frames)
            for x in np.moveaxis(logits_of(validation), 1, 0)
        ]
    clips = data.held_out(run.reading)
    logits = logits_of(clips)
    examples, truth = clips.flatten_valid(logits)
    is_saved = truth.size <= predictions.MOST
    counts = {
        "positives": dict(
            zip(classes, clips.labels.sum(0).astype(int).tolist(), strict=True)
        ),
        "chance": dict(
            zip(classes, truth.mean(0, dtype=np.float64).tolist(), strict=True)
        ),
    }
    records = []
    for k in range(len(run.seeds)):
        score = selection.score_held_out(
            runs.choices[k], examples[:, k], truth, setup.task
        )
        of_test: dict[str, Any] = dict(counts)
        if thresholds is not None:
            of_test["thresholds"] = dict(
                zip(classes, map(float, thresholds[k]), strict=True)
            )
            of_test["more"] = frame_scores.scores(
                logits[:, k], clips, thresholds[k], classes, settings.frames
            )
        notes = _notes(run, runs, score.masked_classes)
        if not is_saved:
            notes += (
                f"the predictions on the test split ({truth.size:,} numbers, more than "
                f"{predictions.MOST:,}) are not saved: intervals in reports do not "
                "allow for the choice of its clips",
            )
        record = _record(run, runs, k, score, of_test | {"notes": notes})
        if is_saved and distributed.is_writer():
            predictions.write_predictions(
                run.workdir.predictions,
                record.file_name(),
                clips.valid_ids,
                setup.dataset.groups,
                truth,
                examples[:, k],
            )
        records.append(record)
    return records


def _record(
    run: ProbeRun,
    runs: FinalRuns,
    k: int,
    score: selection.HeldOutScore,
    of_test: dict[str, Any],
) -> results.Record:
    """The record of one final run.

    Args:
        run: The probe and its data.
        runs: All final runs of the probe.
        k: The place of this one among them.
        score: Its score on the test split.
        of_test: Further fields, which describe the test split and its time steps, and
            the notes.
    """
    setup, dataset = run.setup, run.setup.dataset
    is_fitted = setup.probes[run.name].is_fitted
    return results.Record(
        **setup.record_key(run.name, run.data.protocol, run.seeds[k]),
        source=dataset.source,
        probe_options=changed_options(setup.settings, run.name),
        metric=setup.metric,
        parameters=0 if is_fitted else count_parameters(runs.params),
        learning_rate=runs.best.learning_rate if runs.best else None,
        weight_decay=runs.best.weight_decay if runs.best else 0.0,
        epoch=score.choice.epoch,
        validation=score.choice.validation,
        test=score.value,
        per_class=dict(zip(dataset.classes, score.per_class, strict=True)),
        masked_classes=score.masked_classes,
        search=runs.search,
        seconds=runs.seconds,
        settings=without_places(setup.settings.to_dict()),
        facts=_facts(run),
        ranges=runs.ranges,
        chosen=runs.chosen,
        steps=runs.steps,
        never_started=runs.never_started[k],
        token_checks={s: x.checked for s, x in run.stores.items() if x.checked},
        num_layers=setup.encoder.num_layers if run.reading.needs_layers else 0,
        layer_weights=_layer_weights(runs, k),
        **of_test,
    )


def _layer_weights(runs: FinalRuns, k: int) -> tuple[float, ...]:
    """The weights of the layers that the `k`-th final run has learned, if any."""
    weights = runs.probe.layer_weights(jax.tree.map(lambda x: x[k], runs.params))
    return () if weights is None else tuple(np.asarray(weights).tolist())


def _trained_probe(
    run: ProbeRun, runs: FinalRuns, record: results.Record, k: int
) -> trained.TrainedProbe:
    """The `k`-th final run, with everything needed to use it elsewhere."""
    setup, dataset = run.setup, run.setup.dataset
    probe, encoder = runs.probe, setup.encoder
    return trained.TrainedProbe(
        name=run.name,
        options={o: getattr(probe, o) for o in sorted(probe_options(run.name))},
        params=jax.tree.map(lambda x: x[k], runs.params),
        normaliser=run.data.normaliser,
        classes=dataset.classes,
        task=setup.task,
        encoder=as_json(encoder.identity()),
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


def _facts(run: ProbeRun) -> dict[str, Any]:
    """What the scores depend on besides the settings."""
    p, stores = run.data.protocol, run.stores
    splits = {
        "train": list(p.train),
        "validation": list(p.validation),
        "test": list(p.test),
    }
    return {
        "splits": splits,
        "clips": {s: stores[s].n for used in splits.values() for s in used},
        **run.setup.sources(),
        "devices": f"{run.mesh.size} x {jax.devices()[0].device_kind}",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("unmute-jax", "jax", "flax", "optax", "numpy")
        },
    }


def _notes(run: ProbeRun, runs: FinalRuns, masked: int) -> tuple[str, ...]:
    """What a reader of the scores should know."""
    setup, notes = run.setup, list(run.setup.notes)
    if masked and setup.task == "multi-label":
        notes.append(f"mAP leaves out {masked} classes without a positive test clip")
    if setup.settings.frame_rule is not None and not has_sed_eval():
        notes.append(MISSING_SED_EVAL)
    if runs.best is not None and (few := few_steps(setup.settings, run.clips)):
        notes.append(few)
    if remark := runs.probe.remark:
        notes.append(f"{run.name}: {remark}")
    notes += _notes_on_search(run.name, runs)
    settings = setup.settings.to_dict()
    return tuple(hide_places(note, settings) for note in notes)


def _notes_on_search(name: str, runs: FinalRuns) -> list[str]:
    """What to know of the trials: stuck ones, a best value at an edge, options."""
    notes = list[str]()
    if stuck := sum(runs.never_started):
        tried = sum(t.get("never_started", False) for t in runs.search)
        notes.append(
            f"{name}: {stuck} of {len(runs.never_started)} seeds and {tried} of "
            f"{len(runs.search)} trials of the search never left their start (the same "
            "output for all validation clips, or a flat loss at chance): the score "
            "says nothing about the encoder; config.loss.name=bce, "
            "config.standardise=True or options of the probe may help (for proto: "
            "config.probe_options.initialisation=normal)"
        )
    if runs.best is not None and (ends := runs.ranges.get("learning_rate")):
        best, (low, high) = runs.best.learning_rate, ends
        if at_edge(best, ends):
            notes.append(
                f"{name}: the best learning rate ({best:g}) is at the edge of the "
                f"range {low:g} to {high:g}: a better one may lie beyond"
            )
    if len(runs.search) > 1 and runs.chosen:
        text = ", ".join(f"{k}={v:g}" for k, v in runs.chosen.items())
        notes.append(f"{name}: validation chose {text} of {len(runs.search)} settings")
    return notes
