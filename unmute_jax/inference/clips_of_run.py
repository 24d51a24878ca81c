"""Reads the clips that a probe was trained on, in the form in which it saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Int

from unmute_jax.config import Experiment
from unmute_jax.console import inform, progress
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Source
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.embed import embed
from unmute_jax.store.reader import TokenStore
from unmute_jax.training.batches import rows_in_order
from unmute_jax.training.setup import kept_for, make_probes, open_dataset

Part = Literal["train", "validation", "every"]


def dataset_of(trained: TrainedProbe) -> Dataset:
    """Opens the data set that a probe was trained on.

    Raises:
        InputError: The data set is missing or not named.
    """
    settings = Experiment.from_dict(trained.settings)
    if not settings.dataset:
        raise InputError(
            f"the file of probe {trained.name!r} does not name the data set that it "
            "was trained on: save it with the argument settings of save_trained"
        )
    return open_dataset(settings)


def stores_of(
    trained: TrainedProbe,
    encoder: Source,
    part: Part,
    log: Callable[[str], None] = inform,
    dataset: Dataset | None = None,
) -> list[TokenStore]:
    """Opens the tokens of a part of the run's data, and computes missing ones.

    Args:
        trained: The trained probe.
        encoder: Its encoder.
        part: The part of the data, or every clip that the run used.
        log: A function that is called with lines about progress.
        dataset: The data set of the run, if `dataset_of` has opened it.

    Raises:
        InputError: The data set is missing or not named, it has no such protocol, or
            the run was trained on its validation clips as well.
    """
    settings = Experiment.from_dict(trained.settings)
    if part == "validation" and settings.refit:
        raise InputError(
            f"probe {trained.name!r} was trained on its validation clips as well "
            "(config.refit=True): no clips are left to select anything on"
        )
    dataset = dataset_of(trained) if dataset is None else dataset
    protocols = {p.name: p for p in dataset.all_protocols}
    if trained.protocol not in protocols:
        raise unknown_name("protocol", trained.protocol, protocols, trained.dataset)
    protocol = protocols[trained.protocol]
    splits = {
        "train": [*protocol.train, *(protocol.validation if settings.refit else ())],
        "validation": protocol.validation,
        "every": [*protocol.train, *protocol.validation, *protocol.test],
    }
    tokens = settings.tokens
    made = make_probes(settings, 1, encoder).values()
    kept = next(k for k in kept_for(made, settings) if k.layer == trained.reading.layer)
    return [
        embed(
            encoder,
            dataset,
            split,
            dtype=tokens.dtype,
            kept=kept,
            lengths=tokens.lengths,
            batch_size=tokens.batch_size,
            log=log,
        )
        for split in splits[part]
    ]


def batches_of(
    trained: TrainedProbe, stores: Sequence[TokenStore], label: str
) -> Iterator[tuple[TokenStore, Int[np.ndarray, "_"], Any]]:
    """Reads all clips of some stores in order, one batch at a time.

    Args:
        trained: The trained probe.
        stores: The token stores.
        label: The label of the progress bar.

    Yields:
        The store of a batch, the rows of the batch, and the input of the probe. All
        batches have the same size; the last one of a store repeats its first row
        behind the given rows.
    """
    size = Experiment.from_dict(trained.settings).batch_size
    kind = trained.reading.kind
    with progress(label, sum(s.n for s in stores), unit="clips") as advance:
        for store in stores:
            summaries = store.layer_summary() if kind == "layer_summary" else None
            for rows in rows_in_order(store.n, size):
                padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
                if kind == "layer_summary":
                    inputs = jax.tree.map(lambda x, i=padded: x[i], summaries)
                else:
                    tokens = store.read(padded, layers=kind == "layers")
                    inputs = trained.prepare(tokens)
                yield store, rows, inputs
                advance(len(rows))
