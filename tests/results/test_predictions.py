import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.results import predictions


def write(folder, clips=4, classes=3):
    rng = np.random.default_rng(0)
    labels = (rng.random((clips, classes)) < 0.5).astype(np.float32)
    logits = rng.normal(size=(clips, classes)).astype(np.float32)
    ids = [f"día {i}" for i in range(clips)]
    groups = {"día 0": "pond", "día 2": "pond"}
    predictions.write_predictions(folder, "abc.json", ids, groups, labels, logits)
    return labels, logits


def test_what_was_written_is_read_again(tmp_path):
    labels, logits = write(tmp_path)
    found = predictions.read_predictions(tmp_path / "abc.npz")
    assert found.ids == ("día 0", "día 1", "día 2", "día 3")
    assert found.groups == ("pond", "día 1", "pond", "día 3")
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.logits, logits)


def test_predictions_of_very_many_clips_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "MOST", 11)
    write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "abc.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"abc\.npz: not a file of predictions"):
        predictions.read_predictions(tmp_path / "abc.npz")
