"""Makes the parts of cells whose data sets and encoders may not be here yet."""

from __future__ import annotations

from unmute_jax.config import Experiment, options_of
from unmute_jax.datasets import Dataset, dataset_infos
from unmute_jax.encoders import Source
from unmute_jax.training import losses
from unmute_jax.training.placeholders import folds
from unmute_jax.training.setup import Setup, make_probes


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
        probes=make_probes(settings, len(dataset.classes), encoder),
        loss=losses.make_loss(loss.pop("name"), **loss),
    )


def protocol_count(settings: Experiment) -> int | None:
    """Returns the number of protocols of a cell, or None if only its data set tells."""
    # Only 0 asks for more than one.
    if settings.dataset_options.fold_to_test != 0:
        return 1
    info = {i.name: i for i in dataset_infos()}.get(settings.dataset)
    return max(1, len(folds(info))) if info else None
