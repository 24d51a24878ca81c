"""One run from audio files to a table: embed once, train, choose, test, record."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import pathlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import event_scores, parallel, predictions, results, trained
from unmute_jax.datasets import Protocol
from unmute_jax.embedding import embed
from unmute_jax.probes import probe_options
from unmute_jax.token_key import plain
from unmute_jax.token_store import TokenStore
from unmute_jax.training import frame_scores, loop, selection, sweep, trials
from unmute_jax.training.inputs import Inputs, what_is_read
from unmute_jax.training.materials import (
    Materials,
    changed_options,
    seeds_of,
    sources,
)
from unmute_jax.training.standardise import Standardiser
from unmute_jax.training.workdir import Workdir, finite

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


@dataclass(frozen=True)
class ProtocolData:
    """The clips of one protocol, as the probes read them; made when first asked for."""

    protocol: Protocol
    stores: dict[str, TokenStore]
    standardise: bool
    frame_rule: str | None = None

    def development(self, reads: str) -> tuple[Inputs, Inputs]:
        """Training and validation clips."""
        p = self.protocol
        return self._inputs(p.train, reads), self._inputs(p.validation, reads)

    def refit(self, reads: str) -> Inputs:
        """Training and validation clips as one."""
        p = self.protocol
        return self._inputs(p.train + p.validation, reads)

    def held_out(self, reads: str) -> Inputs:
        """The test clips."""
        return self._inputs(self.protocol.test, reads)

    @functools.cached_property
    def standardiser(self) -> Standardiser | None:
        """With statistics of the training clips, where the run standardises."""
        if not self.standardise:
            return None
        return Standardiser.fit([self.stores[s] for s in self.protocol.train])

    @functools.cached_property
    def _held(self) -> dict[tuple[tuple[str, ...], str], Inputs]:
        return {}

    def _inputs(self, splits: tuple[str, ...], reads: str) -> Inputs:
        reads = what_is_read(reads, self.frame_rule)
        if (splits, reads) not in self._held:
            stores = [self.stores[s] for s in splits]
            self._held[splits, reads] = Inputs(
                stores, reads, self.standardiser, frame_rule=self.frame_rule
            )
        return self._held[splits, reads]


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
        folder / results.record_name(**_key(materials, name, protocol, seed))
        for seed in seeds_of(materials, name)
    ]
    if not all(p.exists() for p in paths):
        return []
    return [results.read_record(p) for p in paths]


@dataclass(frozen=True)
class Finalists:
    """The trainings of one probe that are to be tested, one per seed.

    Attributes:
        params: With a leading axis of seeds.
        choices: What validation said of each.
        best: Rate and decay that were chosen; None where nothing was trained.
        search: Every trial that was compared.
        seconds: Time spent on all stacks.
    """

    params: trials.Params
    choices: list[selection.Choice]
    best: trials.Trial | None
    search: tuple[dict[str, Any], ...]
    seconds: float = 0.0


def _run_probe(
    materials: Materials, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> list[results.Record]:
    """Trains, chooses, tests once and records; nothing of it is repeated later."""
    if materials.probes[name].is_fitted:
        finalists = _fit_probe(materials, name, data, mesh)
    else:
        finalists = _train_probe(materials, workdir, name, data, mesh)
    records = _test_probe(materials, name, data, mesh, finalists, workdir.predictions)
    if parallel.is_writer():
        for k, record in enumerate(records):
            probe = _trained(materials, record, data, finalists, k)
            trained.save(workdir.probes, probe)
        for record in records:
            results.write_record(workdir.results, record)
    return records


def _train_probe(
    materials: Materials, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> Finalists:
    """A search with the first seed, then the best it found with all of them."""
    settings, probe = materials.settings, materials.probes[name]
    seeds, protocol = seeds_of(materials, name), data.protocol.name
    started = time.monotonic()

    def train(stage: str, stack: tuple[trials.Trial, ...]) -> loop.Trained:
        if stage == "refit":
            clips, validation = data.refit(probe.reads), None
        else:
            clips, validation = data.development(probe.reads)
        return loop.train(
            loop.Task(
                f"{name}, {protocol}, {stage}", materials.task, clips, validation
            ),
            probe,
            stack,
            materials.loss,
            settings,
            mesh,
            workdir.checkpoints(name, protocol, stage),
            lambda history: workdir.log(name, protocol, stage, stack, history),
        )

    if settings.search == "sweep":
        found = _sweep(materials, workdir, name, data, mesh, train)
    else:
        found = _search_rates(materials, name, train)

    # Or all seeds again, on training and validation clips together.
    if settings.refit and found.best is not None:
        refitted = train("refit", _with_seeds(found.best, seeds))
        found = dataclasses.replace(found, params=refitted.params)
    return dataclasses.replace(found, seconds=time.monotonic() - started)


Train = Callable[[str, tuple[trials.Trial, ...]], loop.Trained]


def _search_rates(materials: Materials, name: str, train: Train) -> Finalists:
    """Every rate with the first seed, the best with the others."""
    settings, seeds = materials.settings, seeds_of(materials, name)
    stack = tuple(
        trials.Trial(
            learning_rate=rate,
            weight_decay=settings.optimizer.weight_decay,
            seed=seeds[0],
        )
        for rate in settings.optimizer.learning_rates
    )
    searched = train("search", stack)
    assert searched.scores is not None
    choice = selection.choose(searched.scores, settings.report_epoch)
    best = stack[choice.trial]
    choices, params = [choice], [_trial(searched.params, choice.trial)]
    if seeds[1:]:
        repeated = train("repeat", _with_seeds(best, seeds[1:]))
        choices += _choices(repeated, settings.report_epoch)
        params.append(repeated.params)
    _, at_epoch = searched.scores.reported(settings.report_epoch)
    return Finalists(
        params=jax.tree.map(lambda *x: np.concatenate(x), *params),
        choices=choices,
        best=best,
        search=tuple(
            {"learning_rate": t.learning_rate, "validation": finite(s)}
            for t, s in zip(stack, at_epoch, strict=True)
        ),
    )


def _sweep(
    materials: Materials,
    workdir: Workdir,
    name: str,
    data: ProtocolData,
    mesh: Mesh,
    train: Train,
) -> Finalists:
    """The search of `training.sweep`, then its best trials with all seeds."""
    settings, seeds = materials.settings, seeds_of(materials, name)
    probe, protocol = materials.probes[name], data.protocol
    clips, validation = data.development(probe.reads)
    label = f"{name}, {protocol.name}, search"
    study = sweep.Study(
        key=_key(materials, name, protocol, seeds[0]),
        task=loop.Task(label, materials.task, clips, validation),
        probe=probe,
        loss=materials.loss,
        settings=settings,
        mesh=mesh,
        workdir=workdir,
    )
    tried = study.run()
    finished = [t for t in tried if t.status == "finished"]
    # The order of equals is that of their proposal.
    finished.sort(key=lambda t: -(t.validation or 0.0))
    found = []
    for place, one in enumerate(finished[: settings.sweep.top], start=1):
        trial = trials.Trial(
            learning_rate=one.learning_rate, weight_decay=one.weight_decay, seed=0
        )
        trained = train(f"repeat {place}", _with_seeds(trial, seeds))
        choices = _choices(trained, settings.report_epoch)
        mean = float(np.mean([c.validation for c in choices]))
        found.append((mean, trial, trained.params, choices))
    _, best, params, choices = max(found, key=lambda x: x[0])
    return Finalists(
        params=params,
        choices=choices,
        best=best,
        search=tuple(t.summary() for t in tried),
    )


def _with_seeds(
    trial: trials.Trial, seeds: tuple[int, ...]
) -> tuple[trials.Trial, ...]:
    return tuple(dataclasses.replace(trial, seed=seed) for seed in seeds)


def _choices(trained: loop.Trained, report_epoch: str) -> list[selection.Choice]:
    """What validation says of each trial at the epoch that is reported."""
    assert trained.scores is not None
    epoch, found = trained.scores.reported(report_epoch)
    return [selection.Choice(i, epoch, float(s)) for i, s in enumerate(found)]


def _trial(params: trials.Params, k: int) -> trials.Params:
    """The `k`-th of a stack, still with a leading axis."""
    return jax.tree.map(lambda x: x[k : k + 1], params)


def _fit_probe(
    materials: Materials, name: str, data: ProtocolData, mesh: Mesh
) -> Finalists:
    """The one finalist of a probe that has nothing to choose and no seed."""
    settings, probe = materials.settings, materials.probes[name]
    started = time.monotonic()

    def fitted(clips: Inputs) -> trials.Params:
        everything = clips.read(np.arange(len(clips)))
        params = probe.fit(everything, clips.labels)["params"]
        return jax.tree.map(lambda x: np.asarray(x)[None], params)

    train, validation = data.development(probe.reads)
    params = fitted(train)
    found = loop.logits(
        probe, parallel.replicate(params, mesh), validation, settings.batch_size, mesh
    )
    score = selection.score(found, validation.labels, materials.dataset.task)
    scores = selection.ValidationScores((0,), score[None])
    choice = selection.choose(scores, settings.report_epoch)
    if settings.refit:
        params = fitted(data.refit(probe.reads))
    return Finalists(
        params=params,
        choices=[choice],
        best=None,
        search=(),
        seconds=time.monotonic() - started,
    )


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
                **_key(materials, name, data.protocol, seed),
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


def _key(materials: Materials, name: str, protocol: Protocol, seed: int) -> dict:
    return {
        "experiment": materials.settings.digest(),
        "dataset": materials.dataset.name,
        "encoder": materials.encoder.description,
        "probe": name,
        "protocol": protocol.name,
        "seed": seed,
    }


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
