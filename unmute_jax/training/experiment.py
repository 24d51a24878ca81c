"""One run from audio files to a table: embed once, train, choose, test, record."""

from __future__ import annotations

import functools
import importlib.metadata
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import losses, parallel, probes, results
from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, Protocol, load_dataset
from unmute_jax.embedding import embed
from unmute_jax.encoders import Encoder, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.token_key import plain
from unmute_jax.token_store import TokenStore
from unmute_jax.training import loop, selection, trials
from unmute_jax.training.inputs import Inputs
from unmute_jax.training.standardise import Standardiser
from unmute_jax.training.workdir import Workdir

Say = Callable[[str], None]


@dataclass(frozen=True)
class Materials:
    """What an experiment is made of, opened but not yet computed."""

    settings: Experiment
    dataset: Dataset
    encoder: Encoder
    protocols: tuple[Protocol, ...]
    probes: dict[str, nn.Module]
    loss: trials.LossFn


def prepare(settings: Experiment) -> Materials:
    """Opens data set, encoder, probes and loss; everything wrong shows here."""
    options = options_of(settings.dataset_options)
    test_fold = options.pop("test_fold", None)
    loss = options_of(settings.loss)
    made_loss = losses.make_loss(loss.pop("name"), **loss)
    check_probes(settings)
    untrained = settings.weights == "untrained"
    encoder, dataset = _both(
        lambda: load_encoder(
            settings.encoder,
            None if untrained else settings.weights or None,
            weights="untrained" if untrained else None,
            **options_of(settings.encoder_options),
            **options_of(settings.frontend),
        ),
        lambda: load_dataset(
            settings.dataset,
            data_dir=settings.data_dir or None,
            on_bad=settings.audio.on_bad,
            **options,
        ),
    )
    return Materials(
        settings=settings,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(test_fold),
        probes=make_probes(settings, len(dataset.classes)),
        loss=made_loss,
    )


def _both(
    make_encoder: Callable[[], Encoder], make_dataset: Callable[[], Dataset]
) -> tuple[Encoder, Dataset]:
    """Opens both; where both are missing, one message says so of both."""
    problems, encoder, dataset = [], None, None
    try:
        encoder = make_encoder()
    except InputError as error:
        problems.append(str(error))
    try:
        dataset = make_dataset()
    except InputError as error:
        problems.append(str(error))
    if encoder is None or dataset is None:
        raise InputError("\n".join(problems))
    return encoder, dataset


def check_probes(settings: Experiment) -> None:
    """Finds a wrong probe name or option before any data are touched."""
    if not settings.probe_names:
        known = ", ".join(probes.list_probes())
        raise InputError(f"config.probes is empty: name one of {known}")
    make_probes(settings, 1)


def make_probes(settings: Experiment, num_classes: int) -> dict[str, nn.Module]:
    """The probes by name; an option goes to those of them that know it."""
    given = options_of(settings.probe_options)
    return {
        name: probes.make_probe(
            name,
            num_classes=num_classes,
            **{o: v for o, v in given.items() if o in probes.probe_options(name)},
        )
        for name in settings.probe_names
    }


def changed_options(settings: Experiment, name: str) -> dict:
    """The options of a probe that are not its defaults."""
    given = options_of(settings.probe_options)
    usual = probes.make_probe(name, num_classes=1)
    known = probes.probe_options(name)
    return {k: v for k, v in given.items() if k in known and v != getattr(usual, k)}


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
    workdir.pin("sources", _sources(materials))
    stores = dict(_embed_all(materials, mesh, explain, say))
    found: list[results.Record] = []
    for protocol in materials.protocols:
        data = ProtocolData(protocol, stores, settings.standardise)
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
    def _standardiser(self) -> Standardiser | None:
        if not self.standardise:
            return None
        return Standardiser.fit([self.stores[s] for s in self.protocol.train])

    @functools.cached_property
    def _held(self) -> dict[tuple[tuple[str, ...], str], Inputs]:
        return {}

    def _inputs(self, splits: tuple[str, ...], reads: str) -> Inputs:
        if (splits, reads) not in self._held:
            stores = [self.stores[s] for s in splits]
            self._held[splits, reads] = Inputs(stores, reads, self._standardiser)
        return self._held[splits, reads]


def _embed_all(
    materials: Materials, mesh: Mesh, explain: bool, say: Say
) -> Iterator[tuple[str, TokenStore]]:
    needed = {
        split: None
        for p in materials.protocols
        for split in (*p.train, *p.validation, *p.test)
    }
    tokens = materials.settings.tokens
    for split in needed:
        yield (
            split,
            embed(
                materials.encoder,
                materials.dataset,
                split,
                dtype=tokens.dtype,
                batch_size=tokens.batch_size,
                mesh=mesh,
                explain=explain,
                say=say,
            ),
        )


def finished(
    materials: Materials, folder: pathlib.Path, name: str, protocol: Protocol
) -> list[results.Record]:
    """The records in `folder` of a probe that was run before; none unless all are."""
    paths = [
        folder / results.record_name(**_key(materials, name, protocol, seed))
        for seed in seeds_of(materials.settings)
    ]
    if not all(p.exists() for p in paths):
        return []
    return [results.read_record(p) for p in paths]


def _run_probe(
    materials: Materials,
    workdir: Workdir,
    name: str,
    data: ProtocolData,
    mesh: Mesh,
) -> list[results.Record]:
    """Search over the rates, repeats of the best with other seeds, one test."""
    settings, probe = materials.settings, materials.probes[name]
    protocol, decay = data.protocol, settings.optimizer.weight_decay
    reads = probe.reads
    train, validation = data.development(reads)

    def train_stack(stage: str, stack: tuple[trials.Trial, ...]) -> loop.Trained:
        refit = stage == "refit"
        return loop.train(
            loop.Task(
                name=f"{name}, {protocol.name}, {stage}",
                kind=materials.dataset.task,
                train=data.refit(reads) if refit else train,
                validation=None if refit else validation,
            ),
            probe,
            stack,
            materials.loss,
            settings,
            mesh,
            workdir.checkpoints(name, protocol.name, stage),
            lambda history: workdir.log(name, protocol.name, stage, stack, history),
        )

    def stack_of(rates: tuple[float, ...], seeds: tuple[int, ...]):
        return tuple(
            trials.Trial(learning_rate=r, weight_decay=decay, seed=s)
            for r in rates
            for s in seeds
        )

    # Choose the rate with the first seed.
    first, *others = seeds_of(settings)
    rates = settings.optimizer.learning_rates
    searched = train_stack("search", stack_of(rates, (first,)))
    assert searched.scores is not None
    choice = selection.choose(searched.scores, settings.report_epoch)
    best = rates[choice.trial]
    stacks, seconds = [_pick(searched.params, choice.trial)], searched.seconds
    choices = [choice]

    # Train the chosen rate with the other seeds.
    if others:
        repeated = train_stack("repeat", stack_of((best,), tuple(others)))
        assert repeated.scores is not None
        epoch, at_epoch = repeated.scores.reported(settings.report_epoch)
        stacks.append(repeated.params)
        choices += [
            selection.Choice(i, epoch, float(s)) for i, s in enumerate(at_epoch)
        ]
        seconds += repeated.seconds

    # Or all seeds again, on training and validation clips together.
    if settings.refit:
        refitted = train_stack("refit", stack_of((best,), (first, *others)))
        stacks, seconds = [refitted.params], seconds + refitted.seconds

    # Test once.
    params = jax.tree.map(lambda *xs: np.concatenate(xs), *map(jax.device_get, stacks))
    params = parallel.replicate(params, mesh)
    held_out = data.held_out(reads)
    logits = loop.logits(probe, params, held_out, settings.batch_size, mesh)
    search = tuple(
        {"learning_rate": r, "validation": float(s)}
        for r, s in zip(
            rates, searched.scores.reported(settings.report_epoch)[1], strict=True
        )
    )
    records = []
    for k, seed in enumerate((first, *others)):
        tested = selection.score_held_out(
            choices[k], logits[:, k], held_out.labels, materials.dataset.task
        )
        record = results.Record(
            **_key(materials, name, protocol, seed),
            source=materials.dataset.source,
            probe_options=changed_options(settings, name),
            metric=selection.metric_name(materials.dataset.task),
            parameters=trials.count_parameters(params),
            learning_rate=best,
            weight_decay=decay,
            epoch=choices[k].epoch,
            validation=choices[k].validation,
            test=tested.value,
            per_class=dict(
                zip(materials.dataset.classes, tested.per_class, strict=True)
            ),
            masked_classes=tested.masked_classes,
            search=search,
            seconds=seconds,
            settings=settings.to_dict(),
            facts=_facts(materials, data, mesh),
            notes=_notes(materials, name, rates, best, tested.masked_classes),
        )
        results.write_record(workdir.results, record)
        records.append(record)
    return records


def _pick(params: trials.Params, trial: int) -> trials.Params:
    """One trial of a stack, its leading axis kept."""
    return jax.tree.map(lambda x: x[trial : trial + 1], params)


def seeds_of(settings: Experiment) -> tuple[int, ...]:
    """The seeds of the repeats, the first of which also searches."""
    return tuple(range(settings.seed, settings.seed + settings.seeds))


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
        **_sources(materials),
        "devices": f"{mesh.size} x {device.device_kind}",
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("unmute-jax", "jax", "flax", "optax", "numpy")
        },
    }


def _sources(materials: Materials) -> dict:
    """What the tokens are made of."""
    dataset = materials.dataset
    used = {s for p in materials.protocols for s in (*p.train, *p.validation, *p.test)}
    return {
        "encoder": plain(materials.encoder.identity()),
        "fingerprints": {s: dataset.fingerprint(s) for s in sorted(used)},
    }


def _notes(
    materials: Materials,
    name: str,
    rates: tuple[float, ...],
    best: float,
    masked: int,
) -> tuple[str, ...]:
    notes = list(materials.dataset.notes)
    if masked and materials.dataset.task == "multi-label":
        notes.append(f"mAP leaves out {masked} classes without a positive test clip")
    if len(rates) > 1 and best in (min(rates), max(rates)):
        notes.append(
            f"{name}: the best learning rate ({best:g}) is at the edge of those tried"
        )
    return tuple(notes)
