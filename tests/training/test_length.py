import pytest

from unmute_jax.config import Experiment
from unmute_jax.training.length import few_steps, steps_of, with_least_steps


@pytest.mark.parametrize(
    ("clips", "steps", "epochs", "every"),
    [
        (144, 0, 30, 3),
        (144, 100, 50, 5),
        # Whole epochs, and never fewer than were asked for.
        (144, 61, 31, 3),
        (1000, 100, 30, 3),
    ],
)
def test_least_steps_become_epochs(clips, steps, epochs, every):
    settings = Experiment(epochs=30, batch_size=128, steps=steps, eval_every=3)
    found = with_least_steps(settings, clips)
    assert (found.epochs, found.eval_every) == (epochs, every)
    assert steps_of(settings, clips) >= steps


def test_few_steps_are_named_with_what_helps():
    settings = Experiment(epochs=30, batch_size=128)
    text = few_steps(settings, 144)
    assert "only 60 optimiser steps (144 clips, batches of 128, 30 epochs)" in text
    assert "--config.steps=" in text
    assert few_steps(settings, 1200) == ""
    assert few_steps(Experiment(steps=300), 144) == ""


def test_a_batch_of_more_clips_than_there_are_takes_all_of_them():
    settings = Experiment(batch_size=1000, steps=300)
    assert few_steps(settings, 1000) == ""
    assert few_steps(settings, 999) == (
        "config.batch_size=1000 is more than the 999 training clips: every step takes "
        "all of them"
    )
    both = few_steps(Experiment(batch_size=1000), 60)
    assert "takes all of them; only 30 optimiser steps (60 clips, batches of 60" in both
