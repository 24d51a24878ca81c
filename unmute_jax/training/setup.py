"""What an experiment is made of: data set, encoder, probes and loss, opened by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from unmute_jax import probes
from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, Protocol, load_dataset
from unmute_jax.encoders import Source, load_source
from unmute_jax.errors import InputError
from unmute_jax.store.key import plain
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens
from unmute_jax.training import losses, selection
from unmute_jax.training.batches import ProbeData, what_is_read
from unmute_jax.training.step import LossFn


@dataclass(frozen=True)
class Setup:
    """What an experiment is made of, opened but not yet computed."""

    settings: Experiment
    dataset: Dataset
    encoder: Source
    protocols: tuple[Protocol, ...]
    probes: dict[str, probes.Probe]
    loss: LossFn

    @property
    def reads_layers(self) -> bool:
        """Whether any probe wants the tokens of all layers."""
        return any(probe.input_kind == "layers" for probe in self.probes.values())

    @property
    def task(self) -> str:
        """That of the data set; several classes may be in a time step."""
        return self.dataset.task if self.settings.frame_rule is None else "multi-label"

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        name = selection.metric_name(self.task)
        return name if self.settings.frame_rule is None else f"frame {name}"


def prepare(settings: Experiment) -> Setup:
    """Opens data set, encoder, probes and loss; everything wrong shows here."""
    loss = options_of(settings.loss)
    made_loss = losses.make_loss(loss.pop("name"), **loss)
    check_probes(settings)
    encoder, dataset = _both(
        lambda: open_source(settings), lambda: open_dataset(settings)
    )
    if settings.frame_rule is not None and not dataset.has_events:
        raise InputError(
            f"{dataset.name} has labels of whole clips, no onsets and offsets: "
            "config.labels=frames needs them"
        )
    made = make_probes(settings, len(dataset.classes))
    _check_widths(made, encoder, dataset)
    return Setup(
        settings=settings,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(settings.dataset_options.test_fold),
        probes=made,
        loss=made_loss,
    )


def open_source(settings: Experiment, weights: str | None = None) -> Source:
    """The encoder of an experiment, or the tokens that one has left.

    Args:
        settings: Of the experiment.
        weights: Where its weights are now, if not where `settings` say.
    """
    weights = weights or settings.weights
    untrained = weights == "untrained"
    return load_source(
        settings.encoder,
        None if untrained else weights or None,
        weights="untrained" if untrained else None,
        **options_of(settings.encoder_options),
        **options_of(settings.frontend),
    )


def open_dataset(settings: Experiment) -> Dataset:
    """The data set of an experiment."""
    options = options_of(settings.dataset_options)
    options.pop("test_fold", None)
    return load_dataset(
        settings.dataset,
        data_dir=settings.data_dir or None,
        on_bad=settings.audio.on_bad,
        **options,
    )


def _both(
    make_encoder: Callable[[], Source],
    make_dataset: Callable[[], Dataset],
) -> tuple[Source, Dataset]:
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
    for name, probe in make_probes(settings, 1).items():
        if probe.input_kind == "layers" and settings.standardise:
            raise InputError(
                f"probe {name!r} reads every layer, of which nothing is standardised: "
                "leave out config.standardise"
            )
        if settings.frame_rule is not None:
            _check_framewise(name, probe)


def _check_framewise(name: str, probe: probes.Probe) -> None:
    """Refuses what has no logits of time steps that can be trained."""
    if probe.is_fitted:
        raise InputError(
            f"probe {name!r} is fitted to the labels of clips and knows no time steps: "
            "leave it out of config.probes, or use config.labels=clip"
        )
    if probe.needs_cls:
        raise InputError(
            f"probe {name!r} reads the class token as it is set, which has no time: "
            "config.labels=frames needs the option of it that reads something else, "
            "such as config.probe_options.input=mean"
        )


def _check_widths(
    made: Mapping[str, probes.Probe], encoder: Source, dataset: Dataset
) -> None:
    """Finds a probe that cannot cut the tokens, before there are any."""
    (t, f), d = encoder.grid(dataset.clip_seconds), encoder.num_features

    def start(probe: probes.Probe) -> Any:
        clip = Tokens(
            patches=jnp.zeros((1, t, f, d)),
            cls=jnp.zeros((1, d)),
            mask=jnp.ones((1, t), jnp.bool_),
        )
        return probe.init(jax.random.key(0), clip)

    for name, probe in made.items():
        if probe.input_kind == "tokens":
            try:
                jax.eval_shape(functools.partial(start, probe))
            except InputError as error:
                raise InputError(
                    f"probe {name!r} on the tokens of {encoder.description}: {error}: "
                    "see config.probe_options"
                ) from error


def make_probes(settings: Experiment, num_classes: int) -> dict[str, probes.Probe]:
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


def seeds_of(setup: Setup, name: str) -> tuple[int, ...]:
    """The seeds of a probe's repeats, the first of which also searches.

    A probe that is fitted has no chance in it: one is all.
    """
    first, count = setup.settings.seed, setup.settings.seeds
    return tuple(range(first, first + (1 if setup.probes[name].is_fitted else count)))


def splits_of(setup: Setup) -> tuple[str, ...]:
    """The splits that the protocols use, each once."""
    used = [(*p.train, *p.validation, *p.test) for p in setup.protocols]
    return tuple(dict.fromkeys(split for splits in used for split in splits))


def sources(setup: Setup) -> dict:
    """What the tokens are made of."""
    dataset, used = setup.dataset, sorted(splits_of(setup))
    return {
        "encoder": plain(setup.encoder.identity()),
        "fingerprints": {split: dataset.fingerprint(split) for split in used},
    }


def record_key(
    setup: Setup, name: str, protocol: Protocol, seed: int
) -> dict[str, Any]:
    """What names the record of one training of a probe (`results.KEY`)."""
    return {
        "experiment": setup.settings.digest(),
        "dataset": setup.dataset.name,
        "encoder": setup.encoder.description,
        "probe": name,
        "protocol": protocol.name,
        "seed": seed,
    }


@dataclass(frozen=True)
class ProtocolData:
    """The clips of one protocol, as the probes read them; made when first asked for."""

    protocol: Protocol
    stores: dict[str, TokenStore]
    standardise: bool
    frame_rule: str | None = None

    def development(self, input_kind: str) -> tuple[ProbeData, ProbeData]:
        """Training and validation clips."""
        p = self.protocol
        return self._inputs(p.train, input_kind), self._inputs(p.validation, input_kind)

    def refit(self, input_kind: str) -> ProbeData:
        """Training and validation clips as one."""
        p = self.protocol
        return self._inputs(p.train + p.validation, input_kind)

    def held_out(self, input_kind: str) -> ProbeData:
        """The test clips."""
        return self._inputs(self.protocol.test, input_kind)

    @functools.cached_property
    def normaliser(self) -> FeatureNormaliser | None:
        """With statistics of the training clips, where the run standardises."""
        if not self.standardise:
            return None
        return FeatureNormaliser.fit([self.stores[s] for s in self.protocol.train])

    @functools.cached_property
    def _held(self) -> dict[tuple[tuple[str, ...], str], ProbeData]:
        return {}

    def _inputs(self, splits: tuple[str, ...], input_kind: str) -> ProbeData:
        input_kind = what_is_read(input_kind, self.frame_rule)
        if (splits, input_kind) not in self._held:
            stores = [self.stores[s] for s in splits]
            self._held[splits, input_kind] = ProbeData(
                stores, input_kind, self.normaliser, frame_rule=self.frame_rule
            )
        return self._held[splits, input_kind]
