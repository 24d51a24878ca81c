"""A manifest is read as it was written, or the store is refused."""

import json

import pytest

from tests.store.fakes import fake_dataset, fake_encoder
from tests.store.random_store import manifest
from unmute_jax.errors import InputError
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.key import Kept
from unmute_jax.store.manifest import MANIFEST, manifest_for
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
