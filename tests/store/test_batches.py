"""Clips are batched by the length of their input, the same way in every pass."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.store.fakes import FakeDataset, fake_dataset
from unmute_jax.datasets import Clip
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store import batches as store_batches
from unmute_jax.store.embed import embed
from unmute_jax.store.key import store_key

RATE, CLIPS, SIZE = 16_000, 75, 8
# Samples of a time step of logmel.
STEP = 2560


class Lengths(FakeDataset):
    """Noise of 0.2 to 1 s."""

    def source_of(self, split):
        return [self._clip(i) for i in range(self.splits[split])]

    def _clip(self, i):
        return Clip(
            id=f"clip {i}",
            waveform=np.random.default_rng(i).standard_normal(length(i), np.float32),
            sample_rate=RATE,
            labels=(i % 3,),
        )


def length(i):
    return RATE if i == 3 else RATE // 5 + 7919 * i % (RATE * 4 // 5)


def dataset(clips=CLIPS):
    plain = fake_dataset(clips, rate=RATE, name="fake/lengths")
    fields = [f.name for f in dataclasses.fields(plain)]
    return Lengths(**{name: getattr(plain, name) for name in fields})


def logmel():
    return load_encoder("logmel", mask_padding=True)


ENCODER = logmel()
LENGTHS = store_batches.input_lengths(ENCODER, 1.0, 3)


def batches(blocks=None, lengths=LENGTHS):
    return store_batches.waveform_batches(
        ENCODER, dataset(), "train", SIZE, lengths=lengths, blocks=blocks
    )


@pytest.fixture(scope="module")
def whole():
    return list(batches())


def test_input_lengths_are_halves_of_the_longest():
    assert LENGTHS == {4000: (1, 8), 8000: (3, 8), 16000: (6, 8)}
    assert list(store_batches.input_lengths(ENCODER, 1.0)) == [16000]
    # Where the encoder makes all inputs equally long, one is left.
    eat = load_encoder("eat", weights="untrained", width=8, depth=1, num_heads=2)
    assert len(store_batches.input_lengths(eat, 5.0, 3)) == 1
    # No input is shorter than a patch, and no clip shorter than a frame.
    assert min(store_batches.input_lengths(ENCODER, 1.0, 5)) == 400 + 15 * 160
    with pytest.raises(InputError, match="at least 400 samples"):
        store_batches.input_lengths(ENCODER, 1.0, 7)
    with pytest.raises(InputError, match="at least 1, not 0"):
        store_batches.input_lengths(ENCODER, 1.0, 0)


def test_a_clip_gets_the_shortest_input_that_holds_it(whole):
    clips = dataset().source_of("train")
    for batch in whole:
        n = batch.waveforms.shape[1]
        assert n in LENGTHS
        for i, own, x in zip(
            batch.indices, batch.lengths, batch.waveforms, strict=True
        ):
            assert own == length(i) <= n
            assert own + STEP > n // 2 or n == min(LENGTHS)
            assert own + STEP <= n or n == max(LENGTHS)
            np.testing.assert_array_equal(x[:own], clips[i].waveform)
            assert not x[own:].any()


def test_every_clip_is_in_one_batch_and_few_batches_are_not_full(whole):
    assert sorted(np.concatenate([b.indices for b in whole])) == list(range(CLIPS))
    assert all(0 < len(b.clips) <= SIZE for b in whole)
    short = [b for b in whole if len(b.clips) < SIZE]
    assert len(short) <= len(LENGTHS)


def test_blocks_have_the_same_batches_alone_and_together(monkeypatch):
    monkeypatch.setattr(store_batches, "CLIPS_PER_BLOCK", 32)
    together = list(batches())
    alone = [b for k in range(-(-CLIPS // 32)) for b in batches([k])]
    # As two processes would read them.
    shared = [b for part in ([0, 1], [2]) for b in batches(part)]
    # A block that nobody needs is skipped.
    asked = []
    rest = store_batches.waveform_batches(
        ENCODER,
        dataset(),
        "train",
        SIZE,
        lengths=LENGTHS,
        is_needed=lambda block: asked.append(block) or block.start != 32,
    )
    assert {int(i) for b in rest for i in b.indices} == {*range(32), *range(64, CLIPS)}
    assert asked == [range(32), range(32, 64), range(64, CLIPS)]
    for other in (alone, shared):
        assert [b.indices.tolist() for b in other] == [
            b.indices.tolist() for b in together
        ]


@pytest.mark.parametrize(
    ("seconds", "threads"), [(1.0, 5), (3600.0, 2), (9000.0, 1), (90_000.0, 1)]
)
def test_long_clips_are_read_by_fewer_threads(monkeypatch, seconds, threads):
    seen = []

    def ahead(function, items, *, threads, ahead):
        seen.append(threads)
        return map(function, items)

    monkeypatch.setattr(store_batches, "map_ahead", ahead)
    monkeypatch.setattr(store_batches.os, "cpu_count", lambda: 5)
    clips = dataclasses.replace(
        dataset(2), clip_seconds=seconds, sample_rates={8000: 1, 48_000: 1}
    )
    list(store_batches.waveform_batches(ENCODER, clips, "train", SIZE, lengths=LENGTHS))
    assert seen == [threads]


# Tokens of clips of different lengths


def embedded(root, encoder=ENCODER, **options):
    return embed(
        encoder, dataset(), "train", root=root, dtype="float32", log=str, **options
    )


@pytest.fixture(scope="module")
def shapes():
    """Shapes of the inputs that were compiled for `short`."""
    return []


@pytest.fixture(scope="module")
def short(tmp_path_factory, shapes):
    """A store made of inputs of two lengths."""
    encoder = logmel()
    apply = type(encoder).apply

    def recording(self, params, waveform, lengths, **options):
        shapes.append(waveform.shape)
        return apply(self, params, waveform, lengths, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(encoder), "apply", recording)
        root = tmp_path_factory.mktemp("short")
        return embedded(root, encoder, lengths=2, batch_size=4)


def test_an_encoder_is_compiled_once_per_length(short, shapes):
    assert sorted(shapes) == [(4, 8000), (4, 16000)]


def test_short_inputs_give_the_tokens_of_long_ones(short):
    one = embedded(short.path.parent, batch_size=4)
    assert one.path != short.path
    assert short.key["input_samples"] == [8000, 16000]
    assert one.key == store_key(ENCODER, dataset(), "train", "float32")
    a, b = one.load(), short.load()
    np.testing.assert_array_equal(a.mask, b.mask)
    assert not a.mask.all()
    real = a.mask[:, :, None, None]
    np.testing.assert_allclose(
        np.where(real, a.patches, 0), np.where(real, b.patches, 0), atol=1e-5
    )
    np.testing.assert_allclose(a.cls, b.cls, atol=1e-5)
    assert one.ids == short.ids
    np.testing.assert_array_equal(one.labels, short.labels)


def test_other_clips_of_a_batch_change_no_token(tmp_path, short):
    wanted, other = short.load(), embedded(tmp_path, lengths=2, batch_size=9).load()
    for name in ("patches", "cls", "mask"):
        x, y = getattr(other, name), getattr(wanted, name)
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_a_resumed_pass_with_several_lengths_gives_the_same_bytes(tmp_path, short):
    def arrays(root):
        paths = (p for p in sorted(root.rglob("c/**/*")) if p.is_file())
        return {str(p.relative_to(root)): p.read_bytes() for p in paths}

    root = shutil.copytree(short.path.parent, tmp_path / "copy")
    again = root / short.path.name
    manifest = json.loads((again / "manifest.json").read_text())
    (again / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    (again / "patches/c/1/0/0/0").unlink()
    embedded(root, lengths=2, batch_size=4)
    assert arrays(again) == arrays(short.path)
