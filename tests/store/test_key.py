"""The key covers every change of content, and differences between keys are named."""

import json

import pytest

from tests.store.fakes import FakeEncoder, fake_dataset, fake_encoder
from tests.store.random_store import manifest
from unmute_jax.errors import InputError
from unmute_jax.store.key import key_differences, store_key, store_path
from unmute_jax.store.maintenance import explain_miss
from unmute_jax.store.writer import TokenWriter


def test_equal_keys_have_equal_folders():
    one = store_key(fake_encoder(), fake_dataset(), "train")
    two = store_key(fake_encoder(), fake_dataset(), "train")
    assert one == two == json.loads(json.dumps(one))
    assert store_path("root", one) == store_path("root", two)
    assert store_path("root", one).name.startswith("fake_noise-train-fake+-")


def test_keys_and_folders_stay_as_stores_on_disk_have_them():
    key = store_key(fake_encoder(), fake_dataset(), "train")
    assert key.keys() == {
        "format", "dataset", "split", "fingerprint", "encoder", "resampling",
        "input_samples", "dtype",
    }  # fmt: skip
    assert key["input_samples"] == 800
    small = {"dataset": "a/b", "split": "c d", "encoder": {"name": "e+"}, "x": [1, 2.5]}
    assert store_path("gs://r/", small) == "gs://r/a_b-c_d-e+-0e4ebc6fd9dadae2"


def second_version():
    class Second(FakeEncoder):
        version = 2

    return Second(**vars(fake_encoder()))


@pytest.mark.parametrize(
    ("field", "encoder", "dataset", "dtype"),
    [
        ("encoder.weights", fake_encoder(1), fake_dataset(), "bfloat16"),
        ("encoder.version", second_version(), fake_dataset(), "bfloat16"),
        (
            "encoder.mask_padding",
            fake_encoder(mask_padding=False),
            fake_dataset(),
            "bfloat16",
        ),
        ("fingerprint", fake_encoder(), fake_dataset(seed=1), "bfloat16"),
        ("input_samples", fake_encoder(), fake_dataset(clip_seconds=2.0), "bfloat16"),
        ("resampling", fake_encoder(), fake_dataset(rate=400), "bfloat16"),
        ("dtype", fake_encoder(), fake_dataset(), "float32"),
    ],
)
def test_every_change_of_content_is_a_miss_that_is_named(
    tmp_path, field, encoder, dataset, dtype
):
    old = manifest() | {"key": store_key(fake_encoder(), fake_dataset(), "train")}
    TokenWriter(store_path(tmp_path, old["key"]), old)
    key = store_key(encoder, dataset, "train", dtype)
    assert store_path(tmp_path, key) != store_path(tmp_path, old["key"])
    (line,) = explain_miss(tmp_path, key)
    assert f"differs in {field}: " in line
    assert "->" in line


def test_long_values_and_absent_fields_stay_readable():
    (a, b) = key_differences({"means": [1.5] * 99}, {"means": [2.5] * 99, "new": 1})
    assert a.startswith("means: [1.5, 1.5")
    assert len(a) < 160
    assert b == "new: absent -> 1"


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"split of fake/noise 'trian'.*'train'"):
        store_key(fake_encoder(), fake_dataset(), "trian")
    with pytest.raises(InputError, match="token type 'float16'"):
        store_key(fake_encoder(), fake_dataset(), "train", "float16")
