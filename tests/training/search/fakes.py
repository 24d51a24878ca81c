"""Searches without training: the validation scores are given."""

from tests.training.fakes import make_setup, settings, state_without_params, store
from unmute_jax import distributed
from unmute_jax.training import loop
from unmute_jax.training.data import ProbeData
from unmute_jax.training.search.study import Study
from unmute_jax.training.workdir import Workdir


def make_task(setup, name="linear", split="train"):
    """The training of a probe on one split of the tones."""
    probe = setup.probes[name]
    clips, validation = (
        ProbeData([store(s)], probe.input_kind) for s in (split, "validation")
    )
    return loop.Task("test", setup.task, probe, setup.loss, clips, validation)


def make_study(folder, devices=1, **changes):
    """A study of the linear probe."""
    made = make_setup(settings(search="sweep", probes="linear", **changes))
    return Study(
        key=made.record_key("linear", made.protocols[0], 0),
        task=make_task(made),
        settings=made.settings,
        mesh=distributed.make_mesh(devices),
        workdir=Workdir(folder, made.settings),
    )


def fake_train(score, calls=None):
    """Stands for `loop.train`.

    Args:
        score: The validation score for a trial and an epoch.
        calls: Gets the width, the first and the last epoch of each training.
    """

    def train(task, stack, settings, sharding, folder, log, *, begin=None, epochs=None):
        first, last = begin[0] if begin else 0, epochs or settings.epochs
        if calls is not None:
            calls.append((len(stack), first, last))
        history = [
            {
                "epoch": epoch,
                "loss": [1.0] * len(stack),
                "validation": [score(trial, epoch) for trial in stack],
            }
            for epoch in range(first + 1, last + 1)
            if epoch % settings.eval_every == 0 or epoch == last
        ]
        log(history)
        return loop.Trained(None, state_without_params(len(stack)), None, history)

    return train
