import os
import signal

import jax
import numpy as np
import pytest

from tests.training.fakes import settings, store
from unmute_jax import distributed, probes
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError
from unmute_jax.training import batches, loop, losses
from unmute_jax.training.batches import ProbeData
from unmute_jax.training.step import Trial

STACK = tuple(Trial(learning_rate=r, weight_decay=0.0, seed=0) for r in (0.03, 0.1))


class Stopped(Exception):
    """Stands for a kill."""


def train(folder, *, log=lambda history: None, refit=False, **changes):
    chosen = settings(**changes)
    probe = probes.make_probe("protobin", num_classes=3)
    task = loop.Task(
        name="test",
        kind="multi-label",
        train=ProbeData([store("train")], "tokens"),
        validation=None if refit else ProbeData([store("validation")], "tokens"),
    )
    loss = losses.make_loss("asymmetric")
    mesh = distributed.make_mesh(1)
    return loop.train(task, probe, STACK, loss, chosen, mesh, folder, log)


def assert_equal(ours, theirs):
    for a, b in zip(
        jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert ours.history == theirs.history


def test_training_lowers_the_loss_and_raises_the_score(tmp_path):
    history = train(tmp_path, epochs=8).history
    assert history[-1]["loss"][0] < 0.7 * history[0]["loss"][0]
    assert history[-1]["validation"][1] > 0.8
    assert [entry["epoch"] for entry in history] == list(range(1, 9))


@pytest.mark.parametrize("save_every", [300.0, 0.0])
def test_a_stopped_run_ends_like_an_undisturbed_one(tmp_path, monkeypatch, save_every):
    undisturbed = train(tmp_path / "a")
    # 0.0: a state is also written after every step in the middle of an epoch.
    monkeypatch.setattr(loop, "SAVE_EVERY", save_every)
    for stop_after in (1, 3):

        def stop(history, stop_after=stop_after):
            if len(history) == stop_after:
                raise Stopped

        with pytest.raises(Stopped):
            train(tmp_path / "b", log=stop)
    assert_equal(train(tmp_path / "b"), undisturbed)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(tmp_path)
    again = train(tmp_path)
    assert_equal(again, first)


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path)
    (latest,) = (p for p in tmp_path.iterdir() if p.name == "16")
    for file in latest.rglob("*"):
        if file.is_file() and "state" in file.parts:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"checkpoint .*16 cannot be read"):
        train(tmp_path)


def test_the_best_epoch_is_kept_beside_the_latest(tmp_path):
    # A rate this high spoils what the first epochs found.
    stops = []

    def remember(history):
        stops.append(max(history[-1]["validation"]))

    best = train(tmp_path, epochs=6, report_epoch="best", log=remember)
    epoch, scores = best.scores.reported("best")
    assert scores.max() == max(stops)
    assert epoch == best.scores.epochs[int(np.argmax(stops))]
    again = train(tmp_path, epochs=6, report_epoch="best")
    assert_equal(again, best)
    if epoch != 6:
        last = train(tmp_path, epochs=6)
        assert not np.array_equal(last.params["prototypes"], best.params["prototypes"])


def test_of_equal_epochs_the_kept_checkpoint_is_the_reported_one(tmp_path, monkeypatch):
    # Accuracies are often equal; then score and parameters must be of one epoch.
    monkeypatch.setattr(
        loop.selection, "score", lambda logits, *rest: np.full(logits.shape[1], 0.5)
    )
    changes = {"epochs": 3, "eval_every": 1}
    best = train(tmp_path / "a", report_epoch="best", **changes)
    last = train(tmp_path / "b", report_epoch="last", **changes)
    assert best.scores.reported("best")[0] == 3
    np.testing.assert_array_equal(best.params["prototypes"], last.params["prototypes"])


def test_validation_is_looked_at_as_often_as_asked_and_at_the_end(tmp_path):
    history = train(tmp_path, epochs=5, eval_every=2).history
    assert [entry["epoch"] for entry in history] == [2, 4, 5]


def test_a_refit_looks_at_no_validation_split(tmp_path):
    trained = train(tmp_path, refit=True)
    assert trained.scores is None
    assert "validation" not in trained.history[-1]


def test_logits_keep_the_order_of_the_clips_on_any_device_count(tmp_path):
    trained = train(tmp_path, epochs=1)
    clips = ProbeData([store("test")], "tokens")
    probe = probes.make_probe("protobin", num_classes=3)
    made = [
        loop.logits(
            probe,
            distributed.replicate(
                jax.device_get(trained.params), distributed.make_mesh(n)
            ),
            clips,
            size,
            distributed.make_mesh(n),
        )
        for n, size in ((1, 22), (1, 5), (2, 5))
    ]
    assert made[0].shape == (22, 2, 3)
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], atol=1e-5)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_the_rerun_goes_on(
    tmp_path, monkeypatch, signum
):
    undisturbed = train(tmp_path / "a")
    # Four steps are an epoch: the signal comes in the middle of the second one.
    monkeypatch.setattr(batches, "STRETCH", 2)
    moves, taken = loop._steps, []

    def signalling(*arguments):
        for step, move in moves(*arguments):
            taken.append(step)
            if len(taken) == 3:
                os.kill(os.getpid(), signum)
            yield step, move

    monkeypatch.setattr(loop, "_moves", signalling)
    handlers = [signal.getsignal(s) for s in signals.SIGNALS]
    with pytest.raises(signals.Stopped, match="goes on from step 6 of test") as stop:
        train(tmp_path / "b")
    assert stop.value.code == 128 + signum
    assert [signal.getsignal(s) for s in signals.SIGNALS] == handlers
    assert_equal(train(tmp_path / "b"), undisturbed)
    assert taken == [2, 4, 6, 8, 10, 12, 14, 16]


def test_a_signal_in_an_epoch_without_evaluation_is_heard_too(tmp_path, monkeypatch):
    undisturbed = train(tmp_path / "a", epochs=2, eval_every=2)
    ending = loop._end_epoch

    def signalling(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return ending(*arguments)

    monkeypatch.setattr(loop, "_end_epoch", signalling)
    with pytest.raises(signals.Stopped, match="step 4 of test"):
        train(tmp_path / "b", epochs=2, eval_every=2)
    monkeypatch.undo()
    assert_equal(train(tmp_path / "b", epochs=2, eval_every=2), undisturbed)


def test_trials_that_were_shared_out_go_on_on_other_devices(tmp_path):
    def spread_on(devices, folder, epochs):
        task = loop.Task("test", "multi-label", ProbeData([store()], "tokens"), None)
        stack = (*STACK, Trial(learning_rate=0.3, weight_decay=0.0, seed=1))
        return loop.train(
            task, probes.make_probe("linear", num_classes=3), stack,
            losses.make_loss("asymmetric"), settings(epochs=2),
            distributed.make_mesh(devices), folder, epochs=epochs,
            shard_trials=devices > 1,
        )  # fmt: skip

    undisturbed = spread_on(1, tmp_path / "a", 2).params
    for before, after in ((2, 1), (1, 2)):
        folder = tmp_path / str(before)
        spread_on(before, folder, 1)
        found = spread_on(after, folder, 2).params
        for a, b in zip(*map(jax.tree.leaves, (found, undisturbed)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
