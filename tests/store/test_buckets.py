"""A bucket holds the same stores as a folder, byte for byte, whatever happens."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.store.fake_bucket import FakeBucket
from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.store import maintenance
from unmute_jax.store.embed import embed
from unmute_jax.store.files import DamagedStore
from unmute_jax.store.key import store_key, store_path
from unmute_jax.store.reader import TokenStore

ENCODER, DATASET = fake_encoder(), fake_dataset()


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


def inside(bucket, folder):
    """The files of the one store in a folder of the bucket."""
    path = store_path(folder, store_key(ENCODER, DATASET, "train"))
    return bucket.files(f"{path}/")


def files(path):
    there = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in there}


def test_a_bucket_holds_what_a_folder_holds(bucket, remote, local):
    assert inside(bucket, "tokens") == files(local.path)
    there, here = (store.read([149, 3, 70]) for store in (remote, local))
    np.testing.assert_array_equal(there.patches, here.patches)
    assert TokenStore.open(remote.path).ids == local.ids


@pytest.mark.parametrize(
    ("name", "harm"),
    [("mean/c/1/0", lambda x: x[:-1] + b"?"), ("patches/c/1/0/0/0", lambda x: x[:99])],
)
def test_damage_is_found_marked_and_made_again(bucket, remote, local, harm, name):
    whole = f"{remote.path.removeprefix('gs://bucket/')}/{name}"
    bucket.put(whole, harm(bucket.objects[whole][0]))
    (fault,) = maintenance.verify(remote.path)
    assert fault.startswith("shard 1: ")
    with pytest.raises(DamagedStore, match="shard 1 was found damaged"):
        TokenStore.open(remote.path)
    run("gs://bucket/tokens")
    assert inside(bucket, "tokens") == files(local.path)


def test_a_bucket_that_refuses_is_not_taken_for_damage(bucket, remote, monkeypatch):
    store = TokenStore.open(remote.path)
    monkeypatch.setattr(bucket, "refuses", True)
    for ask in (store.summary, store.load, lambda: TokenStore.open(remote.path)):
        with pytest.raises(InputError, match=r"PERMISSION_DENIED.*not for you") as told:
            ask()
        assert not isinstance(told.value, DamagedStore)
        assert "http_response" not in str(told.value)
    monkeypatch.undo()
    assert maintenance.verify(remote.path) == []


def test_writers_that_are_killed_leave_what_one_in_peace_does(bucket, local):
    program = [sys.executable, "-m", "tests.store.fakes", "gs://bucket/shared"]
    here = pathlib.Path(__file__).parents[2]

    def start(delay):
        return subprocess.Popen(
            [*program, delay], cwd=here, stdout=subprocess.DEVNULL, env=os.environ
        )

    killed = [start("0.02") for _ in range(2)]
    end = time.monotonic() + 120
    while not any("/c/" in name for name in bucket.files("shared/")):
        assert time.monotonic() < end
        time.sleep(0.005)
    for process in killed:
        process.kill()
        process.wait()
    assert start("0").wait() == 0
    assert inside(bucket, "shared") == files(local.path)
