"""Opens what an experiment is made of: data set, encoder, probes and loss, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from unmute_jax import distributed, probes
from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, Protocol, load_dataset
from unmute_jax.encoders import Source, for_dataset, load_source
from unmute_jax.errors import InputError
from unmute_jax.store.clip_lengths import length_notes
from unmute_jax.store.key import Kept, as_json
from unmute_jax.tokens import Tokens
from unmute_jax.training import losses, memory, selection
from unmute_jax.training.step import LossFn


@dataclass(frozen=True)
class Setup:
    """What an experiment is made of, opened but not yet computed.

    Attributes:
        settings: The experiment's settings.
        dataset: The data set.
        encoder: The encoder, or exported tokens that stand for one.
        protocols: The protocols to train and test on.
        probes: The probes by name.
        loss: The loss per example, as returned by `losses.make_loss`.
    """

    settings: Experiment
    dataset: Dataset
    encoder: Source
    protocols: tuple[Protocol, ...]
    probes: dict[str, probes.Probe]
    loss: LossFn

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that any protocol uses, each once."""
        used = [(*p.train, *p.validation, *p.test) for p in self.protocols]
        return tuple(dict.fromkeys(split for splits in used for split in splits))

    def reading(self, name: str) -> probes.Reading:
        """What a probe reads of the clips."""
        of_steps = self.settings.frame_rule is not None
        return self.probes[name].reads(of_steps=of_steps)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The layers that each of the token stores of a split keeps."""
        return kept_for(self.probes.values(), self.settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know of the clips."""
        lengths = self.settings.tokens.lengths
        notes = (
            *self.dataset.notes,
            *length_notes(self.encoder, self.dataset, lengths),
        )
        if self.settings.dataset_options.test_fold == 0 and len(self.protocols) == 1:
            name = self.dataset.name
            return (*notes, f"{name} has no folds, so test_fold=0 changes nothing")
        return notes

    @property
    def task(self) -> str:
        """The task of the data set; time steps may have several classes."""
        return self.dataset.task if self.settings.frame_rule is None else "multi-label"

    @property
    def metric(self) -> str:
        """The name of the metric that trials are compared by."""
        name = selection.metric_name(self.task)
        return name if self.settings.frame_rule is None else f"frame {name}"

    def seeds(self, name: str) -> tuple[int, ...]:
        """The seeds of a probe's final runs, the first of which also searches.

        A probe that is fitted does not depend on a seed, and has only one.
        """
        first, count = self.settings.seed, self.settings.seeds
        return tuple(
            range(first, first + (1 if self.probes[name].is_fitted else count))
        )

    def sources(self) -> dict[str, Any]:
        """What the tokens were made of: identities of encoder and splits, as JSON."""
        return {
            "encoder": as_json(self.encoder.identity()),
            "fingerprints": {
                s: self.dataset.fingerprint(s) for s in sorted(self.splits)
            },
        }

    def record_key(self, name: str, protocol: Protocol, seed: int) -> dict[str, Any]:
        """The fields that name the record of one final run (`results.KEY`)."""
        return {
            "experiment": self.settings.digest(),
            "dataset": self.dataset.name,
            "encoder": self.encoder.description,
            "probe": name,
            "protocol": protocol.name,
            "seed": seed,
        }


def prepare(settings: Experiment) -> Setup:
    """Opens data set, encoder, probes and loss.

    Raises:
        InputError: Something is missing, or does not fit together.
    """
    check_probes(settings)
    encoder, dataset = _open_both(
        lambda: open_source(settings), lambda: open_dataset(settings)
    )
    return assemble(settings, encoder, dataset)


def prepare_together(settings: Experiment) -> Setup:
    """Calls `prepare` in the writing process first, and then in all others.

    The others then find what the first one has put on the shared disk, such as a
    download.

    Raises:
        InputError: As for `prepare`.
    """
    setup = prepare(settings) if distributed.is_writer() else None
    distributed.wait_for_all("the first process")
    return prepare(settings) if setup is None else setup


def assemble(settings: Experiment, encoder: Source, dataset: Dataset) -> Setup:
    """Makes the probes and the loss for an encoder and a data set.

    Args:
        settings: The experiment's settings.
        encoder: The encoder, or exported tokens that stand for one.
        dataset: The data set.

    Raises:
        InputError: Something does not fit together.
    """
    loss = options_of(settings.loss)
    made_loss = losses.make_loss(loss.pop("name"), **loss)
    if settings.frame_rule is not None and not dataset.has_events:
        raise InputError(
            f"{dataset.name} has labels of whole clips, no onsets and offsets: "
            "config.labels=frames needs them"
        )
    made = make_probes(settings, len(dataset.classes), encoder)
    _check_sizes(made, encoder, dataset, settings)
    return Setup(
        settings=settings,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(settings.dataset_options.fold_to_test),
        probes=made,
        loss=made_loss,
    )


def open_source(settings: Experiment, weights: str | None = None) -> Source:
    """Opens the encoder of an experiment, or the exported tokens of one.

    Args:
        settings: The experiment's settings.
        weights: The place of the weights, if it is not the one in `settings`.
    """
    weights = weights or settings.weights
    untrained = weights == "untrained"
    return load_source(
        for_dataset(settings.encoder, settings.dataset),
        None if untrained else weights or None,
        weights="untrained" if untrained else None,
        **options_of(settings.encoder_options),
        **options_of(settings.frontend),
    )


def open_dataset(settings: Experiment) -> Dataset:
    """Opens the data set of an experiment."""
    options = options_of(settings.dataset_options)
    options.pop("test_fold", None)
    return load_dataset(
        settings.dataset,
        data_dir=settings.data_dir or None,
        on_bad=settings.audio.on_bad,
        **options,
    )


def _open_both(
    open_encoder: Callable[[], Source],
    open_data: Callable[[], Dataset],
) -> tuple[Source, Dataset]:
    """Opens both; if both are missing, one message names both."""
    problems, encoder, dataset = [], None, None
    try:
        encoder = open_encoder()
    except InputError as error:
        problems.append(str(error))
    try:
        dataset = open_data()
    except InputError as error:
        problems.append(str(error))
    if encoder is None or dataset is None:
        raise InputError("\n".join(problems))
    return encoder, dataset


def check_probes(settings: Experiment) -> None:
    """Refuses a wrong probe name or option before any data are read."""
    if not settings.probe_names:
        known = ", ".join(probes.list_probes())
        raise InputError(f"config.probes is empty: name one of {known}")
    for name, probe in make_probes(settings, 1).items():
        if probe.reads().needs_layers and settings.standardise:
            raise InputError(
                f"probe {name!r} reads other layers than the last, which cannot be "
                "standardised: leave out config.standardise"
            )
        if settings.frame_rule is not None:
            _check_framewise(name, probe)


def _check_framewise(name: str, probe: probes.Probe) -> None:
    """Refuses a probe without logits of time steps that can be trained."""
    if probe.is_fitted:
        raise InputError(
            f"probe {name!r} is fitted to the labels of clips and knows no time steps: "
            "leave it out of config.probes, or use config.labels=clip"
        )
    if probe.needs_cls:
        raise InputError(
            f"probe {name!r} is set to read the class token, which has no time: "
            "config.labels=frames needs an option that reads something else, "
            "such as config.probe_options.input=mean"
        )


def _check_sizes(
    made: Mapping[str, probes.Probe],
    encoder: Source,
    dataset: Dataset,
    settings: Experiment,
) -> None:
    """Refuses a probe that does not fit the shape of the tokens, or into memory."""
    (t, f), d = encoder.grid(dataset.clip_seconds), encoder.num_features

    def init(probe: probes.Probe) -> Any:
        l = encoder.num_layers if probe.reads().needs_layers else 0
        clip = Tokens(
            patches=jnp.zeros((1, t, f, d)),
            cls=jnp.zeros((1, d)),
            mask=jnp.ones((1, t), jnp.bool_),
            layers=jnp.zeros((1, l, t, f, d)) if l else None,
            layer_cls=jnp.zeros((1, l, d)) if l else None,
        )
        return probe.init(jax.random.key(0), clip)

    for name, probe in made.items():
        if probe.is_fitted or probe.reads().kind == "layer_summary":
            continue
        try:
            shapes = jax.eval_shape(functools.partial(init, probe))
        except InputError as error:
            raise InputError(
                f"probe {name!r} on the tokens of {encoder.description}: {error}: "
                "see config.probe_options"
            ) from error
        parameters = sum(x.size for x in jax.tree.leaves(shapes["params"]))
        memory.check_trials(name, parameters, settings)


def make_probes(
    settings: Experiment, num_classes: int, encoder: Source | None = None
) -> dict[str, probes.Probe]:
    """The probes by name. Each takes those of the options that it knows.

    Args:
        settings: The experiment's settings.
        num_classes: The number of classes.
        encoder: The encoder whose layers the probes read; None if it is not known yet.

    Raises:
        InputError: An option is wrong, or the encoder lacks the layers that are read.
    """
    given = options_of(settings.probe_options)
    made = {}
    for name in settings.probe_names:
        known = {o: v for o, v in given.items() if o in probes.probe_options(name)}
        probe = probes.make_probe(name, num_classes=num_classes, **known)
        try:
            if encoder is not None and probe.reads().needs_layers:
                probe = probe.fitted_to(encoder.num_layers, encoder.name)
        except InputError as error:
            raise InputError(f"probe {name!r}: {error}") from None
        made[name] = probe
    return made


def kept_for(made: Iterable[probes.Probe], settings: Experiment) -> tuple[Kept, ...]:
    """The layers that the token stores of a split keep for some probes.

    One store has the tokens of the last layer and what is read of all layers; the
    tokens of another layer have a store of their own.
    """
    of_steps = settings.frame_rule is not None
    readings = [probe.reads(of_steps=of_steps) for probe in made]
    kinds = [reading.kind for reading in readings if reading.layer is None]
    of_all = Kept(layers="layers" in kinds, summaries="layer_summary" in kinds)
    others = {reading.layer for reading in readings if reading.layer is not None}
    return (*[of_all] * bool(kinds), *(Kept(layer=k) for k in sorted(others)))


def changed_options(settings: Experiment, name: str) -> dict[str, Any]:
    """The options of a probe that differ from its defaults."""
    given = options_of(settings.probe_options)
    usual = probes.make_probe(name, num_classes=1)
    known = probes.probe_options(name)
    return {k: v for k, v in given.items() if k in known and v != getattr(usual, k)}
