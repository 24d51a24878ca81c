"""Tokens of an encoder whose checkpoint is not in their key do not go stale."""

import dataclasses
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.encoders import custom_encoders
from tests.store.fakes import FakeSource, fake_dataset, fake_encoder
from unmute_jax import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store import recheck
from unmute_jax.store.embed import embed
from unmute_jax.store.recheck import ROUNDING, Difference, difference
from unmute_jax.tokens import Tokens, quantise, round_to

MODULE = "tests.encoders.custom_encoders"
DATASET = fake_dataset(5)


@pytest.fixture(autouse=True)
def checkpoint(tmp_path, monkeypatch):
    """Writes the checkpoint that the encoder opens."""
    monkeypatch.chdir(tmp_path)

    def write(gain):
        (tmp_path / "checkpoint.txt").write_text(str(gain))

    write(1.0)
    return write


def embedded(root, name="Checkpoint", dataset=DATASET, **options):
    """The store, the lines that were logged, and the batches that the model got."""
    encoder, lines = load_encoder(f"{MODULE}:{name}"), []
    store = embed(encoder, dataset, "train", root=root, log=lines.append, **options)
    return store, lines, getattr(encoder.model, "batches", None)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8"])
def test_another_checkpoint_under_the_same_key_is_refused(tmp_path, checkpoint, dtype):
    store, *_ = embedded(tmp_path, dtype=dtype)
    again, lines, batches = embedded(tmp_path, dtype=dtype)
    assert again.path == store.path
    assert store.checked == "computed by this run"
    assert again.checked.startswith("clip 'clip 0' was embedded again and agrees")
    assert again.checked in lines[0]
    # One clip to learn the grid, and one to compare.
    assert batches == [1, 1]
    checkpoint(1.02)
    with pytest.raises(InputError, match=r"are not those that .*:Check") as caught:
        embedded(tmp_path, dtype=dtype)
    text = str(caught.value)
    assert "\n" not in text
    for part in ("fake/noise train", "a file that it loads", "'clip 0' was embedded",
                 " standard deviations (", "raise its `version`, or delete",
                 str(store.path)):  # fmt: skip
        assert part in text
    shutil.rmtree(store.path)
    embedded(tmp_path, dtype=dtype)


def test_a_resumed_pass_does_not_mix_two_checkpoints(tmp_path, checkpoint):
    dataset = fake_dataset(70)
    store, *_ = embedded(tmp_path, dataset=dataset)
    whole = store.load()
    shutil.rmtree(store.path / "patches/c/0")
    checkpoint(2.0)
    with pytest.raises(InputError, match="clip 'clip 64' was embedded again"):
        embedded(tmp_path, dataset=dataset)
    checkpoint(1.0)
    again, lines, _ = embedded(tmp_path, dataset=dataset)
    assert any("is damaged" in line for line in lines)
    np.testing.assert_array_equal(again.load().patches, whole.patches)


def test_silent_clips_are_passed_over(tmp_path, checkpoint, monkeypatch):
    original = FakeSource.__getitem__

    def quiet(self, i):
        clip = original(self, i)
        return dataclasses.replace(clip, waveform=clip.waveform * (i >= silent))

    monkeypatch.setattr(FakeSource, "__getitem__", quiet)
    for silent, name in ((2, "clip 2"), (5, "clip 0")):
        root = tmp_path / str(silent)
        embedded(root)
        store, *_ = embedded(root)
        assert store.checked.startswith(f"clip {name!r} was")


def test_changed_code_is_named(tmp_path, checkpoint, monkeypatch):
    embedded(tmp_path)
    checkpoint(2.0)
    monkeypatch.setattr(
        "unmute_jax.encoders.custom.code_digest", lambda module: "another"
    )
    with pytest.raises(InputError, match="its code has changed since"):
        embedded(tmp_path)


@pytest.mark.parametrize("name", ["Jax", "closed"])
def test_unchanged_encoders_agree_with_every_number_of_lengths(tmp_path, name):
    for lengths in (1, 2):
        embedded(tmp_path, name, lengths=lengths)
        store, *_ = embedded(tmp_path, name, lengths=lengths)
        assert "agrees" in store.checked


def test_an_encoder_that_draws_random_numbers_is_told(tmp_path):
    embedded(tmp_path, "Drops")
    with pytest.raises(InputError, match=r"unmute check-encoder tests\..*:Drops"):
        embedded(tmp_path, "Drops")


def test_encoders_of_the_package_read_no_clip_again(tmp_path, monkeypatch):
    monkeypatch.setattr(recheck, "prepare_clip", None)
    for _ in range(2):
        store = embed(fake_encoder(), DATASET, "train", root=tmp_path, log=print)
        assert store.checked == ""


def test_half_precision_may_round_by_the_size_of_the_batch(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).standard_normal((8, 10, 2, 8), np.float32)

    def rounding(self, waveform, lengths):
        # By up to 2 % of the standard deviation, another way for each number of clips.
        x = self.spectra(waveform)
        return x * (1 + 1.5e-3 * noise[len(x)])

    monkeypatch.setattr(custom_encoders.Spectral, "__call__", rounding)
    embedded(tmp_path, "Spectral", dtype="float32", batch_size=4)
    embedded(tmp_path, "Spectral", dtype="float32")
    monkeypatch.setattr(
        custom_encoders.Spectral,
        "__call__",
        lambda *args: 1.05 * rounding(*args),
    )
    with pytest.raises(InputError, match="are not those"):
        embedded(tmp_path, "Spectral", dtype="float32")


def tokens(patches, mask=None, cls=None):
    t, d = patches.shape[1], patches.shape[-1]
    return Tokens(
        patches=patches,
        cls=np.zeros((1, d), np.float32) if cls is None else cls,
        mask=np.ones((1, t), bool) if mask is None else mask,
    )


def test_what_storing_changes_is_no_difference():
    x = np.random.default_rng(0).standard_normal((1, 6, 3, 16), np.float32) + 5
    b = tokens(x)
    for dtype in ("bfloat16", "float32"):
        stored = tokens(np.asarray(round_to(x, dtype)))
        assert difference(stored, b) == Difference(0, 0)
    q, scales = quantise(jnp.asarray(x))
    stored = tokens(np.asarray(q)).replace(scales=np.asarray(scales))
    assert difference(stored, b) == Difference(0, 0)


def test_a_small_change_of_anything_is_a_difference():
    x = np.random.default_rng(0).standard_normal((1, 6, 3, 16), np.float32)
    stored = tokens(np.asarray(round_to(x, "bfloat16")))
    one, last = x.copy(), np.ones((1, 6), bool)
    one[0, 5, 2, 3] += 0.05
    last[0, 5] = False
    changed = [
        tokens(one),
        tokens(x * 1.01),
        tokens(x[:, ::-1]),
        tokens(x, mask=last),
        tokens(x, cls=np.full((1, 16), 0.05, np.float32)),
        tokens(np.where(x == x.max(), np.nan, x)),
        # The stored step behind these is not masked.
        tokens(x[:, :5]),
    ]
    for other in changed:
        assert not difference(stored, other).is_within(ROUNDING)
    assert difference(stored, tokens(x + 1e-4)).is_within(ROUNDING)
