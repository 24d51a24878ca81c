"""The length of a training in optimiser steps, and what to say if they are few."""

from __future__ import annotations

import dataclasses

from unmute_jax.config import Experiment
from unmute_jax.training.batches import steps_per_epoch

# Below this number of optimiser steps a run says that they are few. The smallest
# training set of the paper, three folds of ESC-50, has 300 in 30 epochs of batch 128.
FEW_STEPS = 300
# The number that is proposed then.
ENOUGH_STEPS = 1000


def with_least_steps(settings: Experiment, clips: int) -> Experiment:
    """The settings with as many epochs as `settings.steps` asks for.

    A training set with fewer steps gets more epochs and never fewer. Evaluations become
    rarer by the same factor, so that their number stays.

    Args:
        settings: The experiment's settings.
        clips: The number of clips that are trained on.
    """
    per_epoch = steps_per_epoch(clips, settings.batch_size)
    epochs = max(settings.epochs, -(-settings.steps // per_epoch))
    every = max(1, settings.eval_every * epochs // settings.epochs)
    return dataclasses.replace(settings, epochs=epochs, eval_every=every)


def steps_of(settings: Experiment, clips: int) -> int:
    """The number of optimiser steps of each training.

    Args:
        settings: The experiment's settings.
        clips: The number of clips that are trained on.
    """
    epochs = with_least_steps(settings, clips).epochs
    return epochs * steps_per_epoch(clips, settings.batch_size)


def few_steps(settings: Experiment, clips: int) -> str:
    """A remark if the optimiser takes few steps, or if each of them takes all clips.

    The text is empty otherwise.

    Args:
        settings: The experiment's settings.
        clips: The number of clips that are trained on.
    """
    steps, size = steps_of(settings, clips), min(settings.batch_size, clips)
    remarks = list[str]()
    if settings.batch_size > clips:
        remarks.append(
            f"config.batch_size={settings.batch_size} is more than the {clips} "
            "training clips: every step takes all of them"
        )
    if steps < FEW_STEPS:
        epochs = with_least_steps(settings, clips).epochs
        remarks.append(
            f"only {steps} optimiser steps ({clips} clips, batches of {size}, {epochs} "
            f"epochs): probes may be undertrained; --config.steps={ENOUGH_STEPS} "
            "trains for at least so many, and a smaller --config.batch_size takes "
            "more of them per epoch"
        )
    return "; ".join(remarks)
