import contextlib

import numpy as np
import pytest

from unmute_jax.results import predictions
from unmute_jax.results.typed_json import DamagedFile


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


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.asarray([b"a"])},
        {"groups": np.zeros(4)},
        {"labels": np.zeros((4, 3))},
        {"logits": np.zeros((4, 2), np.float32)},
        {"logits": np.zeros((4, 3), "U3")},
        {"ids": np.asarray([b"\xff"] * 4)},
        {"logits": np.asarray([None, 1])},
        {"labels": None},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, tmp_path):
    write(tmp_path)
    path = tmp_path / "abc.npz"
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(DamagedFile, match=r"abc\.npz: not a file of predictions"):
        predictions.read_predictions(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_named(seed, tmp_path):
    write(tmp_path)
    path = tmp_path / "abc.npz"
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    undisturbed = predictions.read_predictions(path)
    for place in rng.integers(len(content), size=3):
        content[place] = rng.integers(256)
    path.write_bytes(
        content[: rng.integers(1, len(content) + 1)] if seed % 2 else content
    )
    # Not every byte of an archive matters.
    with contextlib.suppress(DamagedFile):
        found = predictions.read_predictions(path)
        np.testing.assert_array_equal(found.logits, undisturbed.logits)
        np.testing.assert_array_equal(found.labels, undisturbed.labels)


def test_predictions_of_another_record_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "abc.npz").rename(tmp_path / "other.npz")
    with pytest.raises(DamagedFile, match="it belongs to the record b'abc'"):
        predictions.read_predictions(tmp_path / "other.npz")


def test_predictions_of_earlier_versions_do_not_say_to_which_record_they_belong(
    tmp_path,
):
    write(tmp_path)
    with np.load(tmp_path / "abc.npz") as stored:
        arrays = dict(stored)
    del arrays["record"]
    np.savez(tmp_path / "other.npz", **arrays)
    assert len(predictions.read_predictions(tmp_path / "other.npz").ids) == 4
