"""Stands in for data sets and encoders that are not downloaded, to estimate a grid."""

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

# Seconds of a clip where `DatasetInfo.max_seconds` is None; and numbers of training
# clips, from the paper, where no official one is known.
_SECONDS = {"esc50": 5.0, "esc10": 5.0, "sc2": 1.0, "sc2/twelve": 1.0}
_CLIPS = {"desed": 20_000}
# Source of the placeholder of a data set.
NOT_READ = "not read"


@dataclass(frozen=True)
class Part:
    """A data set or an encoder, or its placeholder.

    Attributes:
        value: The data set or encoder; None if nothing is known about it.
        problem: The missing thing and what to do about it; empty if nothing is missing.
    """

    value: Dataset | Source | None
    problem: str = ""


def dataset_of(settings: Experiment) -> Part:
    """Returns the data set, or one of the same size whose clips cannot be read."""
    info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
    if info and info.downloads and not settings.data_dir:
        if not info.folder.exists():
            problem = f"{info.name} is not in {info.folder}: downloaded when needed"
            return Part(_placeholder(info, settings), f"{problem} ({info.home})")
    try:
        if problem := _to_download(settings):
            return Part(_placeholder(info, settings) if info else None, problem)
        return Part(open_dataset(settings))
    except InputError as error:
        return Part(_placeholder(info, settings) if info else None, str(error))


def _to_download(settings: Experiment) -> str:
    """Returns what a data set on Hugging Face would download, if it would."""
    # Builders import TFDS, which takes half a second.
    from unmute_jax.datasets.hub import find_copy
    from unmute_jax.datasets.hugging_face import to_download

    name, amount = settings.dataset, ""
    if name.startswith("hf:"):
        options = options_of(settings.dataset_options)
        amount = to_download(name.removeprefix("hf:"), **options)
    elif settings.data_dir.startswith("hf:"):
        name = settings.data_dir
        copy = find_copy(name.removeprefix("hf:"))
        amount = copy.described(copy.missing(copy.tables()))
    return f"{name}: {amount} are downloaded when needed" if amount else ""


def encoder_of(settings: Experiment) -> Part:
    """Returns the encoder, or the same network with random weights."""
    name, weights = settings.encoder, settings.weights
    problem = f"the weights of {name} are not here: downloaded when needed"
    if weights == "untrained" or not needs_download(name, weights or None):
        try:
            return Part(open_source(settings))
        except InputError as error:
            problem = str(error)
    try:
        return Part(open_source(settings, "untrained"), problem)
    except InputError:
        return Part(None, problem)


def make_setup(settings: Experiment, dataset: Dataset, encoder: Source) -> Setup:
    """Returns the setup of a cell.

    Args:
        settings: The cell's settings.
        dataset: The data set or its placeholder.
        encoder: The encoder or its placeholder.
    """
    loss = options_of(settings.loss)
    return Setup(
        settings=settings,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(settings.dataset_options.fold_to_test),
        probes=make_probes(settings, len(dataset.classes)),
        loss=losses.make_loss(loss.pop("name"), **loss),
    )


def protocol_count(settings: Experiment) -> int | None:
    """Returns the number of protocols of a cell, or None if only its data set tells."""
    # Only 0 asks for more than one.
    if settings.dataset_options.fold_to_test != 0:
        return 1
    info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
    return max(1, len(_folds(info))) if info else None


def _folds(info: DatasetInfo) -> list[str]:
    """Returns the splits that are the test split in turn."""
    return [split for split in info.splits if split.startswith("fold")]


def _placeholder(info: DatasetInfo, settings: Experiment) -> Dataset:
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
    # Where validation clips are split off, all of them count as training clips.
    official = Protocol(
        name="official splits",
        train=("train",),
        validation=("validation",) if "validation" in splits else (),
        test=("test",),
    )
    return Dataset(
        name=info.name,
        source=NOT_READ,
        task=info.task,
        classes=tuple(map(str, range(info.classes))),
        sample_rates={},
        clip_seconds=info.max_seconds or _SECONDS.get(info.name, 10.0),
        licence=info.licence,
        citation=info.citation,
        notes=(),
        splits=splits,
        fingerprints=dict.fromkeys(splits, NOT_READ),
        folder=info.folder,
        all_protocols=tuple(protocols) or (official,),
    )


def _shots(info: DatasetInfo, settings: Experiment) -> int:
    """Returns the most clips that few shots may have, with their mixed copies."""
    options = settings.dataset_options
    return info.classes * (options.shots or 64) * (1 + (options.mixup or 0))
