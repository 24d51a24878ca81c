"""Stands in for data sets and encoders that are not downloaded, for plans."""

from __future__ import annotations

from dataclasses import dataclass

from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, Protocol, count_dataset, dataset_infos
from unmute_jax.datasets.counting import NOT_PREPARED, NotHereError
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.encoders import Source
from unmute_jax.errors import InputError
from unmute_jax.training.setup import Setup, assemble, check_probes, open_source
from unmute_jax.weights.published import needs_download

# Seconds of a clip where `DatasetInfo.max_seconds` is None; and numbers of training
# clips, from the paper, where no official one is known.
_SECONDS = {"esc50": 5.0, "esc10": 5.0, "sc2": 1.0, "sc2/twelve": 1.0}
_CLIPS = {"desed": 20_000}


@dataclass(frozen=True)
class Part:
    """A data set or an encoder, or its placeholder.

    Attributes:
        value: The data set or encoder; None if nothing is known about it.
        problem: The missing thing and what to do about it; empty if nothing is missing.
        fails: Whether a run would fail because of the problem. Otherwise it downloads
            or unpacks what is missing.
    """

    value: Dataset | Source | None
    problem: str = ""
    fails: bool = False


def preview(settings: Experiment) -> tuple[Setup | None, tuple[str, ...]]:
    """Opens an experiment as `setup.prepare` does, but prepares and fetches nothing.

    Args:
        settings: The experiment's settings.

    Returns:
        The opened experiment, with placeholders for what is not here, or None if too
        little is known of that; and what is missing.

    Raises:
        InputError: A run would fail, because something is wrong or does not fit.
    """
    check_probes(settings)
    encoder, dataset = encoder_of(settings), dataset_of(settings)
    if failing := [part.problem for part in (encoder, dataset) if part.fails]:
        raise InputError("\n".join(failing))
    problems = tuple(part.problem for part in (encoder, dataset) if part.problem)
    if not isinstance(dataset.value, Dataset) or encoder.value is None:
        return None, problems
    assert not isinstance(encoder.value, Dataset)
    return assemble(settings, encoder.value, dataset.value), problems


def dataset_of(settings: Experiment) -> Part:
    """Returns the data set, or one of the same size whose clips cannot be read."""
    options = options_of(settings.dataset_options)
    options.pop("test_fold", None)
    try:
        dataset = count_dataset(
            settings.dataset,
            data_dir=settings.data_dir or None,
            on_bad=settings.audio.on_bad,
            **options,
        )
    except InputError as error:
        info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
        value = _placeholder(info, settings) if info else None
        return Part(value, str(error), fails=not isinstance(error, NotHereError))
    return Part(dataset)


def encoder_of(settings: Experiment) -> Part:
    """Returns the encoder, or the same network with random weights."""
    name, weights, fails = settings.encoder, settings.weights, False
    problem = f"the weights of {name} are not here: downloaded when needed"
    if weights == "untrained" or not needs_download(name, weights or None):
        try:
            return Part(open_source(settings))
        except InputError as error:
            problem, fails = str(error), True
    try:
        return Part(open_source(settings, "untrained"), problem, fails)
    except InputError as error:
        return Part(None, problem if fails else str(error), fails=True)


def folds(info: DatasetInfo) -> list[str]:
    """Returns the splits that are the test split in turn."""
    return [split for split in info.splits if split.startswith("fold")]


def _placeholder(info: DatasetInfo, settings: Experiment) -> Dataset:
    splits = {split: clips for split, clips in info.splits.items() if clips}
    tested = folds(info)
    if not tested and "train" not in splits:
        splits["train"] = _CLIPS.get(info.name, _shots(info, settings))
    protocols = [
        Protocol(
            name=f"test {test}",
            train=tuple(f for f in tested if f not in (test, validation)),
            validation=(validation,),
            test=(test,),
        )
        for test, validation in zip(tested, tested[1:] + tested[:1], strict=True)
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
        source="not here; numbers as published",
        task=info.task,
        classes=tuple(map(str, range(info.classes))),
        sample_rates={},
        clip_seconds=info.max_seconds or _SECONDS.get(info.name, 10.0),
        licence=info.licence,
        citation=info.citation,
        notes=(),
        splits=splits,
        fingerprints=dict.fromkeys(splits, NOT_PREPARED),
        folder=info.folder,
        has_events=info.has_events,
        all_protocols=tuple(protocols) or (official,),
    )


def _shots(info: DatasetInfo, settings: Experiment) -> int:
    """Returns the most clips that few shots may have, with their mixed copies."""
    options = settings.dataset_options
    return info.classes * (options.shots or 64) * (1 + (options.mixup or 0))
