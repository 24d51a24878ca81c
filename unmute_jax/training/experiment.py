"""One run from audio files to a table: embed once, train, choose, test, record."""

from __future__ import annotations

import functools
import importlib.metadata
import pathlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
            done = finished(materials, workdir.results, name, protocol)
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
        rate: The learning rate that was chosen; None where nothing was trained.
        search: Every rate that was tried, with its validation score.
        seconds: Time spent on all stacks.
    """

    params: trials.Params
    choices: list[selection.Choice]
    rate: float | None
    search: tuple[dict[str, float | None], ...]
    seconds: float


def _run_probe(
    materials: Materials, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> list[results.Record]:
    """Trains, chooses, tests once and records; nothing of it is repeated later."""
    if materials.probes[name].is_fitted:
        finalists = _fit_probe(materials, name, data, mesh)
    else:
        finalists = _train_probe(materials, workdir, name, data, mesh)
    records = _test_probe(materials, name, data, mesh, finalists, workdir.predictions)
    for k, record in enumerate(records):
        trained.save(workdir.probes, _trained(materials, record, data, finalists, k))
    for record in records:
        results.write_record(workdir.results, record)
    return records


def _train_probe(
    materials: Materials, workdir: Workdir, name: str, data: ProtocolData, mesh: Mesh
) -> Finalists:
    """Search over the rates with one seed, repeats of the best with the others."""
    settings, probe = materials.settings, materials.probes[name]
    decay, protocol = settings.optimizer.weight_decay, data.protocol.name

    def train(
        stage: str, rates: tuple[float, ...], seeds: tuple[int, ...]
    ) -> loop.Trained:
        stack = tuple(
            trials.Trial(learning_rate=r, weight_decay=decay, seed=s)
            for r in rates
            for s in seeds
        )
        if stage == "refit":
            clips, validation = data.refit(probe.reads), None
        else:
            clips, validation = data.development(probe.reads)
        kind, label = materials.task, f"{name}, {protocol}, {stage}"
        return loop.train(
            loop.Task(label, kind, clips, validation),
            probe,
            stack,
            materials.loss,
            settings,
            mesh,
            workdir.checkpoints(name, protocol, stage),
            lambda history: workdir.log(name, protocol, stage, stack, history),
        )

    # Choose the rate with the first seed.
    seeds, rates = seeds_of(materials, name), settings.optimizer.learning_rates
    searched = train("search", rates, seeds[:1])
    assert searched.scores is not None
    choice = selection.choose(searched.scores, settings.report_epoch)
    best = rates[choice.trial]
    choices, seconds = [choice], searched.seconds
    chosen = slice(choice.trial, choice.trial + 1)
    stacks = [jax.tree.map(lambda x: x[chosen], searched.params)]

    # Train the chosen rate with the other seeds.
    if seeds[1:]:
        repeated = train("repeat", (best,), seeds[1:])
        assert repeated.scores is not None
        epoch, found = repeated.scores.reported(settings.report_epoch)
        choices += [selection.Choice(i, epoch, float(s)) for i, s in enumerate(found)]
        stacks.append(repeated.params)
        seconds += repeated.seconds

    # Or all seeds again, on training and validation clips together.
    if settings.refit:
        refitted = train("refit", (best,), seeds)
        stacks, seconds = [refitted.params], seconds + refitted.seconds

    _, at_epoch = searched.scores.reported(settings.report_epoch)
    return Finalists(
        params=jax.tree.map(lambda *x: np.concatenate(x), *map(jax.device_get, stacks)),
        choices=choices,
        rate=best,
        search=tuple(
            {"learning_rate": r, "validation": finite(s)}
            for r, s in zip(rates, at_epoch, strict=True)
        ),
        seconds=seconds,
    )


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
        rate=None,
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
                learning_rate=found.rate,
                weight_decay=settings.optimizer.weight_decay,
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
                notes=_notes(materials, name, found.rate, tested.masked_classes),
            )
        )
        if not held_out.is_framewise:
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
    materials: Materials, name: str, best: float | None, masked: int
) -> tuple[str, ...]:
    rates = materials.settings.optimizer.learning_rates
    notes = list(materials.dataset.notes)
    if masked and materials.task == "multi-label":
        notes.append(f"mAP leaves out {masked} classes without a positive test clip")
    if materials.settings.frame_rule is not None and not event_scores.is_available():
        notes.append(event_scores.MISSING)
    if best and len(rates) > 1 and best in (min(rates), max(rates)):
        notes.append(
            f"{name}: the best learning rate ({best:g}) is at the edge of those tried"
        )
    return tuple(notes)
