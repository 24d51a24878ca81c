"""Shards that are computed one by one are those of a whole pass."""

import pytest

from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.embed import begin, embed
from unmute_jax.store.filling import Progress, fill
from unmute_jax.store.reader import TokenStore

ENCODER = fake_encoder()


def start(root, dataset):
    return begin(ENCODER, dataset, "train", root=root, log=lambda line: None)


def test_shards_of_several_calls_make_the_store_of_one_pass(tmp_path):
    dataset = fake_dataset()
    started = start(tmp_path / "parts", dataset)
    for shard, opened in ((2, range(128, 150)), (0, range(64)), (1, range(64, 128))):
        dataset.opened.clear()
        assert started.writer.pending()
        for _ in fill(started.writer, [shard], ENCODER, dataset, "train"):
            pass
        assert shard not in started.writer.pending()
        assert sorted(dataset.opened) == list(opened)
    store = started.finish()
    whole = embed(ENCODER, fake_dataset(), "train", root=tmp_path / "whole")
    names = [p.relative_to(store.path) for p in store.path.rglob("*") if p.is_file()]
    assert len(names) > 10
    for name in names:
        assert (store.path / name).read_bytes() == (whole.path / name).read_bytes()
    # A store that is finished is opened.
    assert isinstance(start(tmp_path / "parts", dataset), TokenStore)


def test_progress_counts_the_clips_that_are_missing(tmp_path):
    dataset = fake_dataset()
    writer = start(tmp_path, dataset).writer
    steps = list(fill(writer, [2], ENCODER, dataset, "train", batch_size=10))
    # Batches begin at multiples of 10, and shard 2 at clip 128.
    assert [(s.clips, s.left) for s in steps] == [(10, 20), (10, 10), (10, 0), (0, 0)]
    assert [shard for s in steps for shard in s.written] == [2]
    # A shard that exists by now is neither read nor computed.
    again = list(fill(writer, [2], ENCODER, dataset, "train"))
    assert again == [Progress(0, 0)]


def test_a_clip_without_finite_tokens_is_named_and_its_shard_not_written(tmp_path):
    dataset = fake_dataset(bad=70)
    writer = start(tmp_path, dataset).writer
    with pytest.raises(InputError, match="'clip 70' gives tokens that are not finite"):
        list(fill(writer, [0, 1, 2], ENCODER, dataset, "train"))
    assert 1 in writer.pending()
