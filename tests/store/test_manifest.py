"""A manifest is read as it was written, or the store is refused."""

import json

import pytest

from tests.store.fakes import fake_dataset, fake_encoder
from tests.store.random_store import manifest
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.key import Kept
from unmute_jax.store.maintenance import list_manifests
from unmute_jax.store.manifest import MANIFEST, manifest_for, write_manifest
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter


@pytest.fixture
def path(tmp_path):
    """A store without any shards."""
    return TokenWriter(tmp_path / "store", manifest()).path


def test_it_says_what_the_tokens_are():
    made = manifest_for(
        fake_encoder(),
        fake_dataset(),
        "train",
        "int8",
        kept=Kept(layers=True),
        lengths=1,
    )
    assert not made["complete"]
    assert (made["clips"], made["grid"], made["key"]["layers"]) == (150, [5, 2, 6], 2)
    assert made["classes"] == ["ash", "birch", "cedar"]
    assert made["encoder"]["description"] == "random projection"
    assert made["data"]["licence"] == "CC0"
    assert made["geometry"]["seconds_per_step"] == 0.2
    assert made["task"] == "multi-label"


def test_a_split_without_clips_is_refused():
    with pytest.raises(InputError, match="split empty of fake/noise has no clips"):
        manifest_for(
            fake_encoder(), fake_dataset(), "empty", "int8", kept=Kept(), lengths=1
        )


def test_a_missing_store_and_another_format_are_refused(path):
    with pytest.raises(InputError, match="no token store at"):
        TokenStore.open(path.parent / "elsewhere")
    (path / MANIFEST).write_text(json.dumps(manifest() | {"format": 0}))
    with pytest.raises(InputError, match=r"format 0.*embed again"):
        TokenStore.open(path)


def test_the_format_cannot_be_altered_unnoticed(path):
    data = (path / MANIFEST).read_bytes()
    (path / MANIFEST).write_bytes(data.replace(b'"format": 3', b'"format": 2'))
    with pytest.raises(DamagedStoreError, match=r"checksum of manifest.json"):
        TokenStore.open(path)


def test_a_folder_of_other_tokens_is_not_written_to(path):
    other = manifest() | {"key": manifest()["key"] | {"fingerprint": "f00"}}
    with pytest.raises(InputError, match=r"other tokens.*key.fingerprint: .* -> \"f00"):
        TokenWriter(path, other)


def change(path, name, value):
    """Writes a manifest of which one field is changed, with a checksum that fits."""
    written = json.loads((path / MANIFEST).read_bytes())
    section, _, field = name.rpartition(".")
    (written[section] if section else written)[field] = value
    del written["checksum"]
    write_manifest(path, written)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("clips", "many", "clips"),
        ("clips", -1, "clips"),
        ("clips", 10**19, "clips"),
        ("grid", [5, 2], "grid"),
        ("grid", [5, True, 6], "grid"),
        ("classes", [None], "classes"),
        ("complete", None, "complete"),
        ("bound_to", ["a"], "bound_to"),
        ("key", [], "key"),
        ("key.encoder", {}, "name of the encoder"),
        ("key.dataset", 7, "dataset in its key"),
        ("key.split", None, "split in its key"),
        ("key.dtype", "object", "dtype in its key"),
        ("key.layers", 0.5, "layers in its key"),
        ("key.layer", "x", "layer in its key"),
    ],
)
def test_a_field_that_no_store_can_have_is_named(path, name, value, shown):
    change(path, name, value)
    with pytest.raises(DamagedStoreError, match=f"manifest.json has no valid {shown}"):
        TokenStore.open(path)
    [line] = verify_store(path)
    assert line == f"manifest.json has no valid {shown}"


@pytest.mark.parametrize(("name", "value"), [("clips", 10**9), ("key.split", "test")])
def test_a_manifest_of_other_tokens_is_refused_before_all_else(path, name, value):
    change(path, name, value)
    with pytest.raises(DamagedStoreError, match="its files belong to the tokens of"):
        TokenStore.open(path)
    assert len(verify_store(path)) == 1


@pytest.mark.parametrize("text", ["[]", "7", "[" * 10_000, "{" * 10_000])
def test_other_json_is_no_manifest(path, text):
    (path / MANIFEST).write_text(text)
    with pytest.raises(DamagedStoreError, match=r"checksum of manifest\.json"):
        TokenStore.open(path)
    assert list(list_manifests(path.parent)) == []
