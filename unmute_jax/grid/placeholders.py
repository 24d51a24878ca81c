"""What the cells of a grid are made of, as far as that is known without fetching it."""

from __future__ import annotations

from dataclasses import dataclass

from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, Protocol, dataset_infos
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.encoders import Source
from unmute_jax.errors import InputError
from unmute_jax.training import losses
from unmute_jax.training.setup import Setup, make_probes, open_dataset, open_source
from unmute_jax.weights.published import needs_download

# Seconds of clips where `DatasetInfo.max_seconds` says nothing, and of training clips
# of the paper where no official number is known.
_SECONDS = {"esc50": 5.0, "esc10": 5.0, "sc2": 1.0, "sc2/twelve": 1.0}
_CLIPS = {"desed": 20_000}


@dataclass(frozen=True)
class Part:
    """A data set or an encoder, or what stands for it.

    Attributes:
        value: None where nothing is known of it.
        problem: What is missing and what to do about it; empty where it is at hand.
    """

    value: Dataset | Source | None
    problem: str = ""


def dataset_of(settings: Experiment) -> Part:
    """The data set, or one of the same size whose clips cannot be read."""
    info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
    if info and info.downloads and not settings.data_dir:
        if not info.folder.exists():
            problem = f"{info.name} is not in {info.folder}: fetched when it is needed"
            return Part(_outline(info, settings), f"{problem} ({info.home})")
    try:
        return Part(open_dataset(settings))
    except InputError as error:
        return Part(_outline(info, settings) if info else None, str(error))


def encoder_of(settings: Experiment) -> Part:
    """The encoder, or the same network with random weights."""
    name, weights = settings.encoder, settings.weights
    problem = f"the weights of {name} are not here: fetched when they are needed"
    if weights == "untrained" or not needs_download(name, weights or None):
        try:
            return Part(open_source(settings))
        except InputError as error:
            problem = str(error)
    try:
        return Part(open_source(settings, "untrained"), problem)
    except InputError:
        return Part(None, problem)


def materials_of(settings: Experiment, dataset: Dataset, encoder: Source) -> Setup:
    """The materials of a cell."""
    loss = options_of(settings.loss)
    return Setup(
        settings=settings,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(settings.dataset_options.test_fold),
        probes=make_probes(settings, len(dataset.classes)),
        loss=losses.make_loss(loss.pop("name"), **loss),
    )


def protocol_count(settings: Experiment) -> int | None:
    """How many protocols a cell runs; None where only its data set could tell."""
    # The default is the first one, and a fold that is named is one.
    if settings.dataset_options.test_fold != 0:
        return 1
    info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
    return max(1, len(_folds(info))) if info else None


def _folds(info: DatasetInfo) -> list[str]:
    """The splits that are the test split in turn."""
    return [split for split in info.splits if split.startswith("fold")]


def _outline(info: DatasetInfo, settings: Experiment) -> Dataset:
    splits = {split: clips for split, clips in info.splits.items() if clips}
    folds = _folds(info)
    if not folds and "train" not in splits:
        splits["train"] = _CLIPS.get(info.name, _shots(info, settings))
    protocols = [
        Protocol(
            name=f"test {test}",
            train=tuple(f for f in folds if f not in (test, validation)),
            validation=(validation,),
            test=(test,),
        )
        for test, validation in zip(folds, folds[1:] + folds[:1], strict=True)
    ]
    # Where validation clips are taken from those for training, all count there.
    official = Protocol(
        name="official splits",
        train=("train",),
        validation=("validation",) if "validation" in splits else (),
        test=("test",),
    )
    return Dataset(
        name=info.name,
        source="not read",
        task=info.task,
        classes=tuple(map(str, range(info.classes))),
        sample_rate=info.sample_rate or 16_000,
        clip_seconds=info.max_seconds or _SECONDS.get(info.name, 10.0),
        licence=info.licence,
        citation=info.citation,
        notes=(),
        splits=splits,
        fingerprints=dict.fromkeys(splits, "not read"),
        folder=info.folder,
        all_protocols=tuple(protocols) or (official,),
    )


def _shots(info: DatasetInfo, settings: Experiment) -> int:
    """Few shots: as many as there may be, with their mixed copies."""
    options = settings.dataset_options
    return info.classes * (options.shots or 64) * (1 + (options.mixup or 0))
