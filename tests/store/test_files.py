"""Files are checked, and a bucket holds the same store as a folder, byte for byte."""

import json

import numpy as np
import pytest

from tests.store.fake_bucket import FakeBucket
from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.embed import embed
from unmute_jax.store.files import (
    DamagedStoreError,
    from_checked_json,
    to_checked_json,
)
from unmute_jax.store.key import store_key, store_path
from unmute_jax.store.reader import TokenStore

# Two shards.
ENCODER, DATASET = fake_encoder(), fake_dataset(80)


def test_no_byte_of_checked_json_can_be_altered():
    data = to_checked_json({"clips": [{"id": "é", "events": []}], "more": 1.5})
    assert json.loads(data)["clips"] == from_checked_json(data)["clips"]
    for i in range(len(data)):
        with pytest.raises(ValueError, match="checksum"):
            from_checked_json(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            from_checked_json(data[:i])


# Buckets


@pytest.fixture(scope="module")
def bucket():
    with FakeBucket() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return run(tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def remote(bucket):
    return run("gs://bucket/tokens")


def run(root):
    return embed(ENCODER, DATASET, "train", root=root, log=lambda _: None)


def bucket_files(bucket, folder):
    """The files of the only store in a folder of the bucket."""
    path = store_path(folder, store_key(ENCODER, DATASET, "train"))
    return bucket.files(f"{path}/")


def files(path):
    return {
        str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()
    }


def test_a_bucket_holds_the_same_files_as_a_folder(bucket, remote, local):
    assert bucket_files(bucket, "tokens") == files(local.path)
    theirs, ours = (store.read([79, 3, 70]) for store in (remote, local))
    np.testing.assert_array_equal(theirs.patches, ours.patches)
    assert TokenStore.open(remote.path).ids == local.ids


def test_damage_in_a_bucket_is_found_marked_and_repaired(bucket, remote, local):
    folder = remote.path.removeprefix("gs://bucket/")
    for name, harm in (
        ("mean/c/0/0", lambda x: x[:-1] + b"?"),
        ("patches/c/1/0/0/0", lambda x: x[:99]),
    ):
        whole = f"{folder}/{name}"
        bucket.put(whole, harm(bucket.objects[whole][0]))
    faults = verify_store(remote.path)
    assert [fault.partition(":")[0] for fault in faults] == ["shard 0", "shard 1"]
    with pytest.raises(DamagedStoreError, match="shard 0 was found damaged"):
        TokenStore.open(remote.path)
    run("gs://bucket/tokens")
    assert bucket_files(bucket, "tokens") == files(local.path)


def test_a_refusing_bucket_is_not_mistaken_for_damage(bucket, remote, monkeypatch):
    store = TokenStore.open(remote.path)
    monkeypatch.setattr(bucket, "refuses", True)
    for ask in (store.summary, lambda: TokenStore.open(remote.path)):
        with pytest.raises(InputError, match=r"PERMISSION_DENIED.*not for you") as told:
            ask()
        assert not isinstance(told.value, DamagedStoreError)
        assert "http_response" not in str(told.value)
    monkeypatch.undo()
    assert verify_store(remote.path) == []


@pytest.mark.parametrize("writes", [3, 30])
def test_a_pass_that_is_cut_off_anywhere_is_resumed(bucket, local, monkeypatch, writes):
    folder, put = f"cut {writes}", bucket.put
    left = [writes]

    def put_until_cut_off(name, data):
        left[0] -= 1
        if left[0] == 0:
            monkeypatch.setattr(bucket, "refuses", True)
        return put(name, data)

    monkeypatch.setattr(bucket, "put", put_until_cut_off)
    with pytest.raises(InputError, match="PERMISSION_DENIED"):
        run(f"gs://bucket/{folder}")
    monkeypatch.undo()
    assert 0 < len(bucket_files(bucket, folder)) < len(files(local.path))
    run(f"gs://bucket/{folder}")
    assert bucket_files(bucket, folder) == files(local.path)
