"""Finding and fetching published weights, from a server of the test."""

import concurrent.futures
import dataclasses
import hashlib
import urllib.parse

import jax
import numpy as np
import pytest

from tests import golden
from tests.hub import running_hub
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE, cache_dir
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.published import find_weights, listing, needs_download
from unmute_jax.weights.published_list import PUBLISHED, PublishedFile

WEIGHTS = (golden.ENCODERS / "eat_tiny_hf.safetensors").read_bytes()
CONFIG = (golden.ENCODERS / "eat_tiny_hf_config.json").read_bytes()
REPOSITORY = "/worstchan/EAT-base_epoch30_pretrain/resolve/main"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A running server that stands for Hugging Face."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.files[f"{REPOSITORY}/model.safetensors"] = WEIGHTS
        hub.files[f"{REPOSITORY}/config.json"] = CONFIG
        yield hub


def cached():
    """The files in the cache of weights, without locks."""
    return sorted(cache_dir("weights").glob("[!.]*"))


def test_the_default_is_fetched_converted_and_then_read_from_the_cache(hub, caplog):
    want = load_encoder("eat", golden.ENCODERS / "eat_tiny_hf.safetensors")
    for _ in range(2):
        got = load_encoder("eat")
        jax.tree.map(np.testing.assert_array_equal, got.params, want.params)
        assert got.identity() == want.identity()
    assert [name for name, _ in hub.downloads] == ["config.json", "model.safetensors"]
    (kept,) = cached()
    assert kept.name == "EAT-base_epoch30_pretrain.safetensors"
    assert read_weights(kept).metadata["source_file"] == "model.safetensors"
    # The published file is known, and this is not it.
    assert "has 0.5 MB, not 360 MB: the authors may have replaced it" in caplog.text
    assert "not 8623072d" in caplog.text
    assert "EAT-base_epoch30_pretrain: licence MIT" in caplog.text


def test_a_file_that_does_not_convert_is_kept(hub):
    hub.files[f"{REPOSITORY}/config.json"] = b'{"num_heads": 5}'
    with pytest.raises(InputError, match=r"model\.safetensors|5 heads"):
        load_encoder("eat")
    assert find_weights("eat", None).read_bytes() == WEIGHTS
    assert len(hub.downloads) == 2
    assert not cached()


def test_only_one_fetches_what_several_want(hub):
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: find_weights("eat", None), range(4)))
    assert len(set(found)) == 1
    assert found[0].read_bytes() == WEIGHTS
    assert [name for name, _ in hub.downloads] == ["config.json", "model.safetensors"]


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError) as caught:
        load_encoder("eat")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "EAT-base_epoch30_pretrain",
        "https://huggingface.co/worstchan/EAT-base_epoch30_pretrain",
        "https://drive.google.com/uc?id=19hfzLgHCkyqTOYmHt8dqVa9nm-weBq4f",
        str(cache_dir("weights") / "EAT-base_epoch30_pt.pt"),
        'weights="untrained"',
        "configs/quickstart.py",
    ):
        assert part in message
    assert not cached()


@pytest.mark.parametrize("right", [True, False])
def test_a_file_at_a_plain_address_must_be_the_published_one(hub, monkeypatch, right):
    torch_file = (golden.ENCODERS / "eat_tiny.pt").read_bytes()
    hub.files["/some/set.pt"] = torch_file if right else torch_file[:-1] + b"?"
    entry = PublishedFile(
        name="set",
        encoders=("eat",),
        default_of="eat",
        licence="MIT",
        url=f"{hub.url}/some/set.pt",
        sha256=hashlib.sha256(torch_file).hexdigest(),
    )
    monkeypatch.setattr("unmute_jax.weights.published.PUBLISHED", (entry,))
    if right:
        assert "set.pt" in load_encoder("eat").description
    else:
        with pytest.raises(InputError, match=r"not match the known .*some/set\.pt as "):
            load_encoder("eat")
        assert not cached()


def test_whisper_comes_from_openai_where_the_hub_does_not_have_it(
    hub, monkeypatch, caplog
):
    torch_file = (golden.MORE_ENCODERS / "whisper_tiny.pt").read_bytes()
    digest = hashlib.sha256(torch_file).hexdigest()
    (listed,) = [p for p in PUBLISHED if p.default_of == "whisper"]
    path = urllib.parse.urlsplit(listed.url).path.replace(listed.sha256, digest)
    hub.files[path] = torch_file
    entry = dataclasses.replace(listed, url=f"{hub.url}{path}", sha256=digest)
    monkeypatch.setattr("unmute_jax.weights.published.PUBLISHED", (entry,))
    assert "whisper-base.pt" in load_encoder("whisper").description
    # The size in the list is that of the hub's file.
    assert "may have replaced it" not in caplog.text
    (kept,) = cached()
    kept.unlink()
    hub.files[path] = torch_file[:-1] + b"?"
    message = rf"not match the known hash: expected {digest} but .*base\.pt as "
    with pytest.raises(InputError, match=message) as caught:
        load_encoder("whisper")
    assert "\n" not in str(caught.value)
    assert not cached()


@pytest.mark.parametrize("right", [True, False])
def test_a_copy_on_the_hub_must_be_the_published_file(hub, monkeypatch, right):
    torch_file = (golden.ENCODERS / "eat_tiny.pt").read_bytes()
    hub.files["/datasets/some/copies/resolve/main/set.pt"] = torch_file
    entry = PublishedFile(
        name="set",
        encoders=("eat",),
        default_of="eat",
        licence="MIT",
        url="https://huggingface.co/datasets/some/copies/resolve/main/set.pt",
        sha256=hashlib.sha256(torch_file if right else b"other").hexdigest(),
    )
    monkeypatch.setattr("unmute_jax.weights.published.PUBLISHED", (entry,))
    assert needs_download("eat", None)
    if right:
        assert "set.pt" in load_encoder("eat").description
    else:
        with pytest.raises(InputError, match=r"another file .*main/set\.pt as "):
            load_encoder("eat")
        assert not cached()
    # What the Hugging Face cache holds is not downloaded again.
    assert not needs_download("eat", None)
    assert len(hub.downloads) == 1


def test_what_is_not_on_hugging_face_is_asked_for(hub):
    with pytest.raises(InputError, match=r"not on Hugging Face; .*1F07zN8N54r"):
        load_encoder("eat", "EAT-base_epoch10_finetune_AS2M")
    with pytest.raises(InputError, match=r"fetching failed: .* there is no such repo"):
        load_encoder("eat+")
    assert not hub.downloads


def test_the_list_shows_the_hashes_that_are_known():
    lines = "\n".join(listing("whisper"))
    for file, digest in {
        "base.pt": "ed3a0b6b1c0e",
        "large-v1.pt": "e4b87e7e0bf4",
    }.items():
        assert f"SHA-256 of {file}: {digest}" in lines
    assert "SHA-256 of model.safetensors: 8623072d" in "\n".join(listing("eat"))


def test_files_fetched_by_hand_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    room = cache_dir("weights")
    room.mkdir()
    for name, source in {
        "EAT-base_epoch30_pt.pt": None,
        "EAT-base_epoch10_finetune_AS2M.pt": "EAT-base_epoch10_finetune_AS2M",
    }.items():
        (room / name).write_bytes((golden.ENCODERS / "eat_tiny.pt").read_bytes())
        assert name in load_encoder("eat", source).description


def test_mistyped_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'EAT-large_epoch20_pretrain'"):
        load_encoder("eat", "EAT-large_epoch20_pretran")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no weights file .*nothing\.pt"):
        load_encoder("eat", tmp_path / "nothing.pt")
