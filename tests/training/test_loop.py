import dataclasses
import functools
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from tests.training.fakes import settings, store
from unmute_jax import distributed, probes
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError
from unmute_jax.training import batches, loop, losses, selection
from unmute_jax.training.data import ProbeData
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Trial

NAN = float("nan")
EPOCHS, STEPS_PER_EPOCH = 4, 4
STACK = tuple(Trial(learning_rate=r, weight_decay=0.0, seed=0) for r in (0.03, 0.1))
# One object, so that all tests share what is compiled.
LOSS = losses.make_loss("asymmetric")


class Stopped(Exception):
    """Stands for a kill."""


@functools.cache
def clips(split):
    return ProbeData([store(split)], "tokens")


def task(name="protobin", refit=False):
    return loop.Task(
        name="test",
        kind="multi-label",
        probe=probes.make_probe(name, num_classes=3),
        loss=LOSS,
        train=clips("train"),
        validation=None if refit else clips("validation"),
    )


def train(folder, *, log=lambda history: None, refit=False, end=None, **changes):
    chosen = settings(epochs=EPOCHS, **changes)
    sharding = Sharding(distributed.make_mesh(1))
    return loop.train(
        task(refit=refit), STACK, chosen, sharding, folder, log, epochs=end
    )


def stopping_after(evaluations):
    """A log that stops the training."""

    def log(history):
        if len(history) == evaluations:
            raise Stopped

    return log


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder, and what was trained in it without a stop."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(folder)


@pytest.fixture
def given_scores(monkeypatch):
    """The validation scores of both trials after epochs 1 to 4, whatever they learn."""
    scores = [[0.9, 0.1], [0.2, 0.3], [0.1, 0.8], [0.0, 0.1]]
    state = {"next": iter(())}

    def score(logits, *rest):
        return np.asarray(next(state["next"]))

    def begin(first=0, scores=scores):
        state["next"] = iter(scores[first:])

    monkeypatch.setattr(selection, "score", score)
    begin()
    return begin


def assert_equal(ours, theirs):
    for a, b in zip(
        jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert ours.history == theirs.history


def test_training_lowers_the_loss_and_raises_the_score(undisturbed):
    history = undisturbed[1].history
    assert history[-1]["loss"][1] < 0.75 * history[0]["loss"][1]
    assert history[-1]["validation"][1] > 0.75
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]


@pytest.mark.parametrize("save_every", [300.0, 0.0])
def test_a_stopped_run_ends_like_an_undisturbed_one(
    tmp_path, monkeypatch, save_every, undisturbed
):
    # 0.0: a state is also saved after every block of steps.
    monkeypatch.setattr(loop, "SAVE_EVERY", save_every)
    for evaluations in (1, 3):
        with pytest.raises(Stopped):
            train(tmp_path, log=stopping_after(evaluations))
    assert_equal(train(tmp_path), undisturbed[1])


def test_a_finished_run_is_not_trained_again(undisturbed, monkeypatch):
    folder, trained = undisturbed
    monkeypatch.setattr(loop, "_evaluate", None)
    assert_equal(train(folder), trained)


def test_a_damaged_checkpoint_is_named(undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed[0], tmp_path / "damaged")
    (latest,) = (p for p in folder.iterdir() if p.name == "16")
    for file in latest.rglob("*"):
        if file.is_file() and "state" in file.parts:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"checkpoint .*16 cannot be read"):
        train(folder)


def test_each_trial_reports_its_own_best_epoch(given_scores, tmp_path):
    # Stopped in between: the parameters of the best epochs are part of a checkpoint.
    with pytest.raises(Stopped):
        train(tmp_path / "best", report_epoch="best", log=stopping_after(2))
    given_scores(1)
    best = train(tmp_path / "best", report_epoch="best")
    chosen = selection.choices(best.scores, "best")
    assert [(c.epoch, c.validation) for c in chosen] == [(1, 0.9), (3, 0.8)]
    for k, choice in enumerate(chosen):
        given_scores()
        last = train(tmp_path / str(k), end=choice.epoch)
        for a, b in zip(
            jax.tree.leaves(best.params), jax.tree.leaves(last.params), strict=True
        ):
            np.testing.assert_array_equal(a[k], b[k])


def test_of_equal_epochs_the_last_one_is_reported(given_scores, tmp_path, undisturbed):
    # Accuracies are often equal; score and parameters must be of the same epoch.
    given_scores(scores=[[0.5, 0.5]] * 4)
    best = train(tmp_path, report_epoch="best")
    assert [c.epoch for c in selection.choices(best.scores, "best")] == [4, 4]
    jax.tree.map(np.testing.assert_array_equal, best.params, undisturbed[1].params)


def test_a_diverged_epoch_is_no_best_epoch(given_scores, tmp_path, undisturbed):
    given_scores(scores=[[NAN, NAN], [0.1, NAN], [NAN, NAN], [NAN, NAN]])
    best = train(tmp_path, report_epoch="best")
    chosen = selection.choices(best.scores, "best")
    assert [(c.epoch, np.isnan(c.validation)) for c in chosen] == [
        (2, False),
        (4, True),
    ]
    ours, last = best.params["prototypes"], undisturbed[1].params["prototypes"]
    assert not np.array_equal(ours[0], last[0])
    np.testing.assert_array_equal(ours[1], last[1])


def test_evaluations_are_as_often_as_asked_and_at_the_end(tmp_path):
    history = train(tmp_path, eval_every=3).history
    assert [entry["epoch"] for entry in history] == [3, 4]


def test_a_refit_reads_no_validation_split(tmp_path):
    trained = train(tmp_path, refit=True)
    assert trained.scores is None
    assert "validation" not in trained.history[-1]


def test_logits_keep_the_order_of_the_clips_on_any_device_count(undisturbed):
    _, trained = undisturbed
    data = ProbeData([store("test")], "tokens")
    made = []
    for devices, size in ((1, 22), (1, 5), (2, 5)):
        sharding = Sharding(distributed.make_mesh(devices))
        params = sharding.place_state(trained.params)
        made.append(loop.logits(task().probe, params, data, size, sharding))
    assert made[0].shape == (22, 2, 3)
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], atol=1e-5)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_the_rerun_goes_on(
    tmp_path, monkeypatch, signum, undisturbed
):
    # Four steps are an epoch: the signal comes in the middle of the second one.
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 2)
    training_inputs, taken = loop.training_inputs, []

    def signalling(*arguments):
        for step, inputs in training_inputs(*arguments):
            taken.append(step)
            if len(taken) == 3:
                os.kill(os.getpid(), signum)
            yield step, inputs

    monkeypatch.setattr(loop, "training_inputs", signalling)
    handlers = [signal.getsignal(s) for s in signals.SIGNALS]
    with pytest.raises(signals.Stopped, match="goes on from step 6 of test") as stop:
        train(tmp_path)
    assert stop.value.code == 128 + signum
    assert [signal.getsignal(s) for s in signals.SIGNALS] == handlers
    assert_equal(train(tmp_path), undisturbed[1])
    assert taken == [2, 4, 6, 8, 10, 12, 14, 16]


def test_a_signal_in_an_epoch_without_evaluation_is_heard_too(
    tmp_path, monkeypatch, undisturbed
):
    end_epoch = loop._end_epoch

    def signalling(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return end_epoch(*arguments)

    monkeypatch.setattr(loop, "_end_epoch", signalling)
    with pytest.raises(signals.Stopped, match="step 4 of test"):
        train(tmp_path, eval_every=4)
    monkeypatch.undo()
    ours, theirs = train(tmp_path, eval_every=4).history, undisturbed[1].history
    assert ours == theirs[-1:]


def test_sharded_trials_go_on_on_other_devices(tmp_path):
    stack = (*STACK, Trial(learning_rate=0.3, weight_decay=0.0, seed=1))
    chosen = dataclasses.replace(settings(epochs=2), report_epoch="best")

    def train_on(devices, folder, end):
        sharding = Sharding.for_trials(distributed.make_mesh(devices), len(stack))
        assert sharding.splits_trials == (devices == 2)
        return loop.train(
            task("linear"), stack, chosen, sharding, folder, epochs=end
        ).params

    undisturbed = train_on(1, tmp_path / "a", 2)
    for before, after in ((2, 1), (1, 2)):
        folder = tmp_path / str(before)
        train_on(before, folder, 1)
        params = train_on(after, folder, 2)
        for a, b in zip(*map(jax.tree.leaves, (params, undisturbed)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
