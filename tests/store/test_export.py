"""Exported tokens are those of the store, come with labels, and can be read back."""

import builtins
import csv
import json

import numpy as np
import pytest
from pyarrow import parquet

from tests.store.fakes import D, F, T, fake_dataset, fake_encoder
from unmute_jax.encoders import load_source
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed
from unmute_jax.store.export import check_export_options, export_tokens

# Two shards, the second ragged.
CLIPS = 80
DATASET = fake_dataset(CLIPS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return embed(
        fake_encoder(), DATASET, "train", root=tmp_path_factory.mktemp("tokens")
    )


@pytest.fixture
def stores(store):
    return {"train": store}


def export(stores, folder, what, form):
    export_tokens(stores, folder, what, form)
    return {p.name for p in folder.iterdir()}


def test_pooled_vectors_and_labels_as_npy(stores, store, tmp_path):
    assert export(stores, tmp_path, "pooled", "npy") == {
        "about.json", "clips.csv", "cls_train.npy", "labels_train.npy",
        "mean_train.npy",
    }  # fmt: skip
    for name, want in (
        ("mean", store.summary().mean),
        ("cls", store.summary().cls),
        ("labels", store.labels),
    ):
        got = np.load(tmp_path / f"{name}_train.npy")
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    with open(tmp_path / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["id"] for r in rows] == store.ids
    assert rows[7] == {"split": "train", "row": "7", "id": "clip 7", "labels": "birch"}
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["classes"] == list(store.classes)
    assert about["encoder"]["licence"] == "Apache-2.0"
    assert about["dataset"]["licence"] == "CC0"
    assert about["geometry"]["seconds_per_step"] == 0.2


def test_token_maps_as_npy_are_read_again_bit_for_bit(stores, store, tmp_path):
    folder = tmp_path / "out"
    assert export(stores, folder, "tokens", "npy") == {
        "about.json", "clips.csv", "tokens.json", "train_00000.npz", "train_00001.npz",
    }  # fmt: skip
    source = load_source(f"tokens:{folder}")
    assert source.geometry == fake_encoder().geometry
    again = embed(source, DATASET, "train", root=tmp_path / "tokens")
    assert again.ids == store.ids
    a, b = store.load(), again.load()
    assert a.patches.tobytes() == b.patches.tobytes()
    np.testing.assert_array_equal(a.cls, b.cls)
    np.testing.assert_array_equal(a.mask, b.mask)
    assert not a.mask.all()


@pytest.mark.parametrize("what", ["pooled", "tokens"])
def test_parquet_has_a_row_per_clip(what, stores, store, tmp_path):
    name = f"{what}_train.parquet"
    assert export(stores, tmp_path, what, "parquet") == {
        "about.json", "clips.csv", name
    }  # fmt: skip
    file = parquet.ParquetFile(tmp_path / name)
    assert file.num_row_groups == 2
    rows = file.read().to_pylist()
    assert [r["id"] for r in rows] == store.ids
    assert rows[79]["labels"] == ["birch"]
    assert {r["split"] for r in rows} == {"train"}
    tokens, summary = store.load(), store.summary()
    np.testing.assert_array_equal([r["cls"] for r in rows], summary.cls)
    if what == "pooled":
        np.testing.assert_array_equal([r["mean"] for r in rows], summary.mean)
        return
    patches = np.array([r["patches"] for r in rows], np.float32)
    want = tokens.patches.astype(np.float32)
    np.testing.assert_array_equal(patches.reshape(-1, T, F, D), want)
    np.testing.assert_array_equal([r["mask"] for r in rows], tokens.mask)


def test_an_interrupted_export_is_resumed_and_has_no_partial_files(
    stores, tmp_path, monkeypatch
):
    read, calls = type(stores["train"]).read, []

    def interrupted(self, rows):
        calls.append(len(rows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(self, rows)

    monkeypatch.setattr(type(stores["train"]), "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(stores, tmp_path, "tokens", "npy")
    first = tmp_path / "train_00000.npz"
    assert [p.name for p in tmp_path.glob("*train*")] == [first.name]
    before = first.stat().st_mtime_ns
    export(stores, tmp_path, "tokens", "npy")
    assert calls == [64, 16, 16]
    assert first.stat().st_mtime_ns == before


def test_a_folder_holds_one_export(stores, tmp_path):
    export(stores, tmp_path, "pooled", "npy")
    with pytest.raises(InputError, match=r"another export \(it differs in what\): use"):
        export_tokens(stores, tmp_path, "tokens", "npy")


def test_a_missing_pyarrow_is_named_in_one_line(monkeypatch):
    actual = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return actual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'unmute-jax\[parquet\]'"):
        check_export_options("pooled", "parquet")


def test_a_damaged_file_of_an_export_is_not_sealed_again(stores, tmp_path):
    folder = tmp_path / "out"
    export(stores, folder, "tokens", "npy")
    before = (folder / "tokens.json").read_text()
    assert sorted(json.loads(before)["files"]) == ["train_00000.npz", "train_00001.npz"]
    content = bytearray((folder / "train_00001.npz").read_bytes())
    content[-200] ^= 1
    (folder / "train_00001.npz").write_bytes(content)
    export(stores, folder, "tokens", "npy")
    assert (folder / "tokens.json").read_text() == before
    with pytest.raises(InputError, match="delete it and export again"):
        load_source(f"tokens:{folder}")
    (folder / "train_00001.npz").unlink()
    export(stores, folder, "tokens", "npy")
    load_source(f"tokens:{folder}")


@pytest.mark.parametrize("content", ["[]", "{", "[" * 10_000])
def test_a_damaged_description_of_an_export_is_named(stores, tmp_path, content):
    (tmp_path / "about.json").write_text(content)
    with pytest.raises(InputError, match=r"about\.json cannot be read"):
        export_tokens(stores, tmp_path, "tokens", "npy")
