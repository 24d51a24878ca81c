"""The size of a store is known before it is written."""

import shutil
from types import SimpleNamespace

import pytest

from tests.store.fakes import CLIPS, D, F, T, fake_dataset, fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed
from unmute_jax.store.estimate import estimate_store

ENCODER, DATASET = fake_encoder(), fake_dataset()


def run(root):
    return embed(ENCODER, DATASET, "train", root=root, log=lambda _: None)


def test_the_estimate_is_the_size_of_the_arrays_on_disk(tmp_path):
    before = estimate_store(ENCODER, DATASET, "train", root=tmp_path)
    assert not before["path"].exists()
    assert (before["clips"], before["exists"], before["resumable"]) == (CLIPS, False, 0)
    path = run(tmp_path).path
    after = estimate_store(ENCODER, DATASET, "train", root=tmp_path)
    assert (after["exists"], after["resumable"], after["path"]) == (True, CLIPS, path)
    arrays = sum(p.stat().st_size for p in path.glob("*/c/**/*") if p.is_file())
    assert before["bytes"] == arrays > CLIPS * T * F * D * 2


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=10_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    kilobytes = estimate_store(ENCODER, DATASET, "train", root=tmp_path)["bytes"] / 1000
    with pytest.raises(
        InputError, match=rf"need {kilobytes:.1f} kB but .* 10.0 kB free"
    ):
        run(tmp_path / "not" / "yet")
    assert asked == [tmp_path]
    assert not list(tmp_path.iterdir())
