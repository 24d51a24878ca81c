from types import SimpleNamespace

import jax
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.errors import InputError
from unmute_jax.training.checkpoints import SPARE, Checkpoints, Saved
from unmute_jax.training.sharding import Sharding

HISTORY = [{"epoch": 1, "loss": [0.5, 0.25], "validation": [0.1, 0.2]}]


LOST = [{"epoch": 1, "loss": [float("nan"), 0.25], "validation": [0.1, float("nan")]}]


def state(value, sharding=None, trials=2):
    sharding = sharding or Sharding(distributed.make_mesh(1))
    tree = {"w": np.full((trials, 3), value), "count": np.arange(trials)}
    return sharding.place_state(tree)


def save(folder, *steps, best=None):
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(Saved(step, state(float(step)), best, HISTORY))


def latest(folder, like, best=None):
    with Checkpoints(folder) as checkpoints:
        return checkpoints.latest(like, best)


def test_there_is_none_at_first(tmp_path):
    assert latest(tmp_path, state(0.0)) is None


def test_the_latest_is_restored_and_the_others_are_gone(tmp_path):
    save(tmp_path, 4, 8)
    saved = latest(tmp_path, state(0.0))
    assert (saved.step, saved.best, saved.history) == (8, None, HISTORY)
    jax.tree.map(np.testing.assert_array_equal, saved.state, state(8.0))
    assert [p.name for p in tmp_path.iterdir() if p.name.isdigit()] == ["8"]


def test_parameters_of_the_best_epochs_are_kept_beside_the_state(tmp_path):
    save(tmp_path, 4, best=state(7.0))
    saved = latest(tmp_path, state(0.0), state(0.0))
    jax.tree.map(np.testing.assert_array_equal, saved.state, state(4.0))
    jax.tree.map(np.testing.assert_array_equal, saved.best, state(7.0))


def test_what_diverged_is_null_in_the_file_and_nan_again(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(Saved(4, state(4.0), None, LOST))
    written = [p.read_text() for p in tmp_path.rglob("history/*") if p.is_file()]
    assert any("0.25" in text for text in written)
    assert not any("NaN" in text for text in written)
    np.testing.assert_equal(latest(tmp_path, state(0.0)).history, LOST)


def test_on_a_full_disk_the_checkpoint_before_stays(tmp_path, monkeypatch):
    save(tmp_path, 4)
    with monkeypatch.context() as full:
        free = SimpleNamespace(free=SPARE)
        full.setattr("shutil.disk_usage", lambda folder: free)
        with pytest.raises(InputError, match=r"need 1\.0 MB but \S+ has 1\.0 MB free"):
            save(tmp_path, 8)
    assert latest(tmp_path, state(0.0)).step == 4
    save(tmp_path, 8)
    assert latest(tmp_path, state(0.0)).step == 8


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("_CHECKPOINT_METADATA", "[]"),
        ("history/metadata", "{"),
        ("history/metadata", "{}"),
        ("history/metadata", '{"rows": "2", "evaluations": []}'),
        ("history/metadata", '{"rows": 2, "evaluations": [3]}'),
        ("history/metadata", '{"rows": 2, "evaluations": [{"epoch": 1}]}'),
        (
            "history/metadata",
            '{"rows": 2, "evaluations": [{"epoch": 1, "loss": "x", "validation": 1}]}',
        ),
    ],
)
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_delete(
    file, content, tmp_path
):
    save(tmp_path, 4)
    (tmp_path / "4" / file).write_text(content)
    with pytest.raises(InputError, match=r"cannot be read \(.*delete that folder"):
        latest(tmp_path, state(0.0))


@pytest.mark.parametrize("trials", [2, 4])
def test_trials_are_restored_on_other_devices(trials, tmp_path):
    save(tmp_path, 4)
    other = Sharding(distributed.make_mesh(2), "trials")
    saved = latest(tmp_path, state(0.0, other, trials))
    # Trials that only fill up devices repeat the last one.
    assert np.asarray(saved.state["count"]).tolist() == [0, 1, 1, 1][:trials]
    assert saved.state["w"].sharding == state(0.0, other, trials)["w"].sharding
