"""What embedding stores and refuses, and that it can be interrupted anywhere."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.store.fakes import (
    CLIPS,
    D,
    F,
    FakeEncoder,
    FakeSource,
    T,
    fake_dataset,
    fake_encoder,
)
from tests.store.random_store import change_manifest
from unmute_jax import distributed
from unmute_jax.audio.resample import pad_or_crop
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir
from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.store.embed import embed
from unmute_jax.store.estimate import estimate_store
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.key import Kept, store_key, store_path
from unmute_jax.store.layout import CLIPS_PER_SHARD
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens, summarise, summarise_layers, without_bands

ENCODER, DATASET = fake_encoder(), fake_dataset()


def run(root, encoder=ENCODER, dataset=DATASET, **options):
    return embed(encoder, dataset, "train", root=root, log=lambda _: None, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return run(tmp_path_factory.mktemp("store"))


def encoded(**options):
    """Tokens of all clips from one plain call of the encoder."""
    clips = [DATASET.source_of("train")[i] for i in range(CLIPS)]
    waveforms, lengths = zip(
        *(pad_or_crop(c.waveform, 800) for c in clips), strict=True
    )
    return jax.device_get(
        ENCODER.apply(ENCODER.params, np.stack(waveforms), np.int32(lengths), **options)
    )


@pytest.fixture(scope="module")
def direct():
    return encoded()


def files(path):
    """Everything a store consists of, byte for byte."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.suffix != ".__lock"
    }


# What is stored


def test_patches_are_rounded_once(store, direct):
    stored = np.asarray(store.load().patches).astype(np.float32)
    np.testing.assert_allclose(stored, direct.patches, rtol=2.0**-8)
    wider = run(store.path.parent, dtype="float32").load().patches
    np.testing.assert_allclose(wider, direct.patches, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(store.load().patches, wider.astype(store.dtype))


def test_int8_patches_and_scales_take_half_the_bytes(store, direct):
    small = run(store.path.parent, dtype="int8", kept=Kept(layers=True))
    raw = small.load(layers=True)
    assert (raw.patches.dtype, raw.layers.dtype) == (np.int8, np.int8)
    assert store.nbytes() - small.nbytes() == CLIPS * T * F * (2 * D - (D + 4))
    meant = jax.device_get(jax.jit(Tokens.floats)(raw))
    wanted = jax.jit(Tokens.rounded, static_argnums=1)(direct, "int8")
    np.testing.assert_array_equal(meant.patches, wanted.patches)
    np.testing.assert_allclose(meant.inverse_norms, wanted.inverse_norms, rtol=1e-6)
    last = np.asarray(meant.layers[:, -1], np.float32)
    np.testing.assert_array_equal(last, np.asarray(wanted.patches, np.float32))
    some = jax.jit(Tokens.floats)(small.read([80, 3], layers=True))
    np.testing.assert_array_equal(some.layers, meant.layers[np.asarray([80, 3])])
    summary = small.summary()
    np.testing.assert_allclose(summary.mean, store.summary().mean, atol=1e-6)


def test_one_layer_takes_no_more_room_than_the_last(store):
    one = run(store.path.parent, kept=Kept(layer=0))
    assert (one.layer, store.layer) == (0, None)
    assert one.layout.disk_bytes == store.layout.disk_bytes
    tokens, everything = one.load(), encoded(all_layers=True)
    assert (tokens.layer, tokens.layers) == (0, None)
    wanted = jax.jit(Tokens.rounded, static_argnums=1)(
        everything.of_layer(0), "bfloat16"
    )
    for name in ("patches", "inverse_norms", "cls", "mask"):
        got = np.asarray(getattr(tokens, name), np.float32)
        want = np.asarray(getattr(wanted, name), np.float32)
        np.testing.assert_allclose(got, want, rtol=2.0**-8, atol=1e-6)
    assert one.read([3]).layer == one.tokens_of(slice(0, 2)).layer == 0


def test_summaries_of_all_layers_are_kept_without_their_tokens(store):
    both = run(store.path.parent, kept=Kept(summaries=True))
    assert "layers" not in both.layout.arrays
    more = both.layout.disk_bytes - store.layout.disk_bytes
    # Two layers, four statistics of float32.
    assert CLIPS * 2 * 4 * D * 4 <= more < 1.5 * CLIPS * 2 * 4 * D * 4
    wanted = without_bands(jax.jit(summarise_layers)(encoded(all_layers=True)))
    got = both.layer_summary()
    for name in ("cls", "mean", "max", "std", "band_max"):
        assert getattr(got, name).shape == getattr(wanted, name).shape
        np.testing.assert_allclose(
            getattr(got, name), getattr(wanted, name), rtol=1e-5, atol=1e-6
        )


def test_inverse_norms_are_those_of_the_stored_patches(store):
    tokens = store.load()
    norms = np.linalg.norm(tokens.patches.astype(np.float64), axis=-1)
    wanted = 1 / np.maximum(norms, NORM_EPS)
    np.testing.assert_allclose(tokens.inverse_norms, wanted, rtol=1e-6)


def test_summary_is_of_the_unrounded_patches_under_the_mask(store, direct):
    wanted = jax.jit(summarise)(direct)
    assert not direct.mask.all()
    assert store.mask.dtype == bool
    np.testing.assert_array_equal(store.mask, direct.mask)
    for name in ("cls", "mean", "max", "std"):
        got = getattr(store.summary(), name)
        np.testing.assert_allclose(got, getattr(wanted, name), rtol=1e-5, atol=1e-6)


def test_clips_keep_the_order_of_the_data_set(store):
    source = DATASET.source_of("train")
    assert store.n == CLIPS
    assert store.key == store_key(ENCODER, DATASET, "train")
    assert store.ids == [source[i].id for i in range(CLIPS)]
    assert store.events == [source[i].events for i in range(CLIPS)]
    np.testing.assert_array_equal(store.labels.argmax(1), np.arange(CLIPS) % 3)
    np.testing.assert_array_equal(store.labels.sum(1), 1)


def test_audio_is_resampled_to_the_rate_of_the_encoder(tmp_path):
    slow = fake_dataset(3, rate=400)
    tokens = run(tmp_path, dataset=slow).load()
    # Half a second at 800 Hz is a second at 400 Hz: every step is real now.
    assert tokens.mask.all()


@pytest.mark.parametrize(
    ("clips", "batch_size"), [(CLIPS, 7), (5, 8), (1, 1), (70, 100)]
)
def test_ragged_batches_give_the_same_tokens(tmp_path, store, clips, batch_size):
    ragged = run(
        tmp_path, dataset=fake_dataset(clips), batch_size=batch_size, dtype="float32"
    )
    assert ragged.ids == store.ids[:clips]
    whole = run(store.path.parent, dtype="float32").read(range(clips))
    np.testing.assert_allclose(ragged.load().patches, whole.patches, atol=1e-6)


def test_devices_change_neither_tokens_nor_shards(tmp_path):
    stores = [
        run(
            tmp_path / str(n),
            mesh=distributed.make_mesh(n),
            dtype="float32",
            batch_size=7,
        )
        for n in (1, 2)
    ]
    assert jax.device_count() > 1
    one, two = (s.load() for s in stores)
    np.testing.assert_allclose(one.patches, two.patches, atol=1e-6)
    np.testing.assert_allclose(one.cls, two.cls, atol=1e-6)
    one, two = (files(s.path) for s in stores)
    assert {n: len(x) for n, x in one.items()} == {n: len(x) for n, x in two.items()}


# Reuse of a store


def test_a_finished_store_is_read_and_not_recomputed(store):
    dataset, logged = fake_dataset(), []
    again = embed(ENCODER, dataset, "train", root=store.path.parent, log=logged.append)
    assert again.path == store.path
    assert dataset.opened == []
    assert logged == [f"tokens of fake/noise train: read from {store.path}"]


def test_another_encoder_gets_its_own_store(tmp_path):
    small = fake_dataset(5)
    first = run(tmp_path, dataset=small)
    logged = []
    second = embed(
        fake_encoder(1), small, "train", root=tmp_path, explain=True, log=logged.append
    )
    assert second.path != first.path
    assert logged[0].endswith(
        'encoder.weights: "untrained, seed 0" -> "untrained, seed 1"'
    )
    assert not np.array_equal(first.load().patches, second.load().patches)


def test_a_finished_folder_with_another_key_is_not_read(tmp_path):
    small = fake_dataset(5)
    path = run(tmp_path, dataset=small).path
    key = TokenStore.open(path).key
    change_manifest(path, key=key | {"encoder": key["encoder"] | {"version": 0}})
    with pytest.raises(InputError, match=r"encoder.version: 0 -> 1"):
        run(tmp_path, dataset=small)


def test_cache_folder_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path))
    assert run(None, dataset=fake_dataset(2)).path.parent == tmp_path / "tokens"
    monkeypatch.setenv("UNMUTE_TOKENS", str(tmp_path / "elsewhere"))
    assert run(None, dataset=fake_dataset(2)).path.parent == tmp_path / "elsewhere"
    monkeypatch.setenv("UNMUTE_TOKENS", "memory://elsewhere")
    assert str(run(None, dataset=fake_dataset(2)).path).startswith(
        "memory://elsewhere/"
    )
    monkeypatch.setenv("UNMUTE_CACHE", "gs://bucket")
    with pytest.raises(InputError, match="UNMUTE_TOKENS may be a URL"):
        cache_dir("datasets")


def test_size_and_remaining_time_are_logged(tmp_path, verbose, capsys):
    embed(ENCODER, DATASET, "train", root=tmp_path)
    first, second = capsys.readouterr().out.splitlines()
    assert f"fake/noise train by fake+: {CLIPS} clips, " in first
    assert " kB to write to " in first
    assert re.fullmatch(r"about \d.* to go, at \d.* clips/s", second)


# Errors


def test_tokens_that_are_not_finite_name_the_clip(tmp_path):
    with pytest.raises(InputError, match="'clip 71' gives tokens that are not finite"):
        run(tmp_path, dataset=fake_dataset(CLIPS, bad=71))
    assert estimate_store(ENCODER, fake_dataset(CLIPS, bad=71), "train", root=tmp_path)[
        "resumable"
    ] in (0, CLIPS_PER_SHARD, CLIPS % CLIPS_PER_SHARD, CLIPS - CLIPS_PER_SHARD)


def test_an_encoder_with_another_grid_than_announced_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeEncoder, "announced", (T + 1, F))
    with pytest.raises(InputError, match=r"\(5, 2, 6\) but announces \(6, 2, 6\)"):
        run(tmp_path)


def test_an_error_of_a_clip_reaches_the_caller(tmp_path, monkeypatch):
    def broken(self, i):
        raise InputError(f"clip {i}: is cut short")

    monkeypatch.setattr(FakeSource, "__getitem__", broken)
    with pytest.raises(InputError, match=r"clip \d+: is cut short"):
        run(tmp_path)


@pytest.mark.parametrize("batch_size", [7, 64, 100])
def test_a_resumed_pass_makes_only_the_missing_shard(tmp_path, batch_size):
    path = run(tmp_path, batch_size=batch_size).path
    whole = files(path)
    (path / "patches/c/1/0/0/0").unlink()
    dataset = fake_dataset()
    done = estimate_store(ENCODER, dataset, "train", root=tmp_path)["resumable"]
    assert done == CLIPS - CLIPS_PER_SHARD
    run(tmp_path, dataset=dataset, batch_size=batch_size)
    assert files(path) == whole
    first, last = 64 // batch_size * batch_size, -(-128 // batch_size) * batch_size
    assert sorted(dataset.opened) == list(range(first, min(last, CLIPS)))


@pytest.mark.parametrize("harm", ["patches/c/1/0/0/0", "clips/1", "cls/c/1/0"])
def test_only_the_damaged_shard_is_recomputed(tmp_path, store, harm):
    path = tmp_path / store.path.name
    shutil.copytree(store.path, path)
    data = bytearray((path / harm).read_bytes())
    data[len(data) // 3] ^= 4
    (path / harm).write_bytes(data)
    found = TokenStore.open(path)
    with pytest.raises(DamagedStoreError, match="embed again, and the damaged part"):
        _ = found.read(range(64, 128)), found.ids
    with pytest.raises(DamagedStoreError, match="shard 1 was found damaged"):
        TokenStore.open(path)
    dataset, logged = fake_dataset(), []
    embed(ENCODER, dataset, "train", root=tmp_path, log=logged.append)
    assert "is damaged (shard 1 was found" in logged[0]
    assert sorted(dataset.opened) == list(range(64, 128))
    assert files(path) == files(store.path)


@pytest.mark.parametrize("name", ["manifest.json", "std/zarr.json"])
def test_a_damaged_description_is_written_again(tmp_path, store, name):
    path = tmp_path / store.path.name
    shutil.copytree(store.path, path)
    (path / name).write_bytes((path / name).read_bytes()[:-9])
    with pytest.raises(DamagedStoreError):
        TokenStore.open(path)
    dataset = fake_dataset()
    run(tmp_path, dataset=dataset)
    assert dataset.opened == []
    assert files(path) == files(store.path)


def test_shards_that_others_made_meanwhile_are_not_recomputed(
    tmp_path, monkeypatch, store
):
    path = tmp_path / store.path.name
    read, copied = FakeSource.__getitem__, []

    def copy_and_read(self, i):
        if not copied:
            copied.append(True)
            shutil.copytree(store.path, path, dirs_exist_ok=True)
        return read(self, i)

    monkeypatch.setattr(FakeSource, "__getitem__", copy_and_read)
    dataset = fake_dataset()
    run(tmp_path, dataset=dataset)
    # Only the shard is read whose turn came before its first clip was read.
    assert len(dataset.opened) <= CLIPS_PER_SHARD
    assert files(path) == files(store.path)


def test_a_store_may_lie_at_a_url(store):
    made = run("memory://bucket/tokens", dataset=fake_dataset(70))
    assert made.path.startswith("memory://bucket/tokens/fake_noise-train-fake+-")
    again = run("memory://bucket/tokens/", dataset=fake_dataset(70))
    for one in (made, again):
        tokens, wanted = one.read([3, 69]), store.read([3, 69])
        np.testing.assert_array_equal(tokens.patches, wanted.patches)
    logged = []
    embed(
        fake_encoder(1),
        fake_dataset(70),
        "train",
        root="memory://bucket/tokens",
        explain=True,
        log=logged.append,
    )
    assert "differs in encoder.weights" in logged[0]


def program(root, delay):
    """Starts the same pass in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.fakes", str(root), str(delay)],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )


def folder(root):
    return store_path(root, store_key(ENCODER, DATASET, "train"))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_killed_writers_leave_a_store_that_others_complete_together(tmp_path, store):
    path, rng = folder(tmp_path), np.random.default_rng(0)
    killed = [program(tmp_path, 0.02) for _ in range(2)]
    for process, written in zip(
        killed, ("manifest.json", "patches/c/*/0/0/0"), strict=True
    ):
        wait_for(lambda name=written: any(path.glob(name)))
        time.sleep(rng.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with pytest.raises(InputError, match="unfinished"):
        TokenStore.open(path)
    both = [program(tmp_path, 0.01) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    assert files(path) == files(store.path)


def test_processes_of_one_program_share_the_work(tmp_path, store):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.store.processes", str(tmp_path)]
    both = [
        subprocess.Popen(
            [*command, str(port), str(process), "2"],
            cwd=pathlib.Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    logged = [process.communicate(timeout=120)[0] for process in both]
    read = [
        {int(i) for line in lines.splitlines() if line.startswith("read")
         for i in line.split()[1:]}
        for lines in logged
    ]  # fmt: skip
    # What the first process finds holds for both, though the second one could go on.
    for lines in logged:
        assert "refused the cached tokens of fake/noise train are not those" in lines
    # 150 clips are three shards: 64 clips, and 64 and 22, up to whole batches of 7.
    assert read == [set(range(70)), set(range(63, CLIPS))]
    made = files(folder(tmp_path))
    wanted = files(store.path)
    assert made.keys() == wanted.keys()
    sizes, wanted_sizes = ({n: len(x) for n, x in f.items()} for f in (made, wanted))
    assert sizes == wanted_sizes
    ours, theirs = (
        np.asarray(TokenStore.open(p).load().patches).astype(np.float32)
        for p in (folder(tmp_path), run(tmp_path / "alone", batch_size=7).path)
    )
    np.testing.assert_allclose(ours, theirs, rtol=2.0**-7, atol=1e-6)
