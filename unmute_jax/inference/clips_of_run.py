"""The clips that a trained probe was trained with, as it saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from unmute_jax.config import Experiment
from unmute_jax.console import progress
from unmute_jax.encoders import Source
from unmute_jax.errors import InputError
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.embed import embed
from unmute_jax.store.reader import TokenStore
from unmute_jax.training.batches import rows_in_order
from unmute_jax.training.setup import make_probes, open_dataset

Part = Literal["train", "validation"]


def stores_of(
    trained: TrainedProbe,
    encoder: Source,
    part: Part,
    log: Callable[[str], None] = print,
) -> list[TokenStore]:
    """The tokens of a part of the run's data; read where they are kept, else made.

    Raises:
        InputError: The data set is not there, or the run kept no clips to validate on.
    """
    settings = Experiment.from_dict(trained.settings)
    if part == "validation" and settings.refit:
        raise InputError(
            f"probe {trained.name!r} was trained on its validation clips as well "
            "(config.refit=True): none are left to choose anything on"
        )
    dataset = open_dataset(settings)
    (protocol,) = (p for p in dataset.all_protocols if p.name == trained.protocol)
    splits = list(getattr(protocol, part))
    if part == "train" and settings.refit:
        splits += protocol.validation
    tokens = settings.tokens
    # Kept with all layers where any probe of the run read them.
    layers = any(p.input_kind == "layers" for p in make_probes(settings, 1).values())
    return [
        embed(
            encoder,
            dataset,
            split,
            dtype=tokens.dtype,
            layers=layers,
            lengths=tokens.lengths,
            batch_size=tokens.batch_size,
            log=log,
        )
        for split in splits
    ]


def batches_of(
    trained: TrainedProbe, stores: Sequence[TokenStore], label: str
) -> Iterator[tuple[TokenStore, Int[np.ndarray, "_"], Any]]:
    """All clips of `stores` in order, a batch at a time; one batch is held.

    Args:
        trained: Whose `prepare` makes of the tokens what the probe reads.
        stores: Where the tokens are.
        label: Of the progress bar.

    Yields:
        A store, the rows of a batch, and what the probe reads of them. Every batch has
        the same number of clips; behind the given rows the first one is repeated.
    """
    size = Experiment.from_dict(trained.settings).batch_size
    layers = trained.probe.input_kind == "layers"
    with progress(label, sum(s.n for s in stores), unit="clips") as advance:
        for store in stores:
            for rows in rows_in_order(store.n, size):
                filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
                yield store, rows, trained.prepare(store.read(filled, layers=layers))
                advance(len(rows))
