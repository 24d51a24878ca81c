"""Finding and fetching published weights, from a server of the test."""

import concurrent.futures
import hashlib
import http.server
import threading

import jax
import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import list_encoders, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.io import VARIABLE, cache_dir, fetch
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.published import ENDPOINT_VARIABLE, PUBLISHED, find_weights
from unmute_jax.weights.published_list import Published

WEIGHTS = (golden.ENCODERS / "eat_tiny_hf.safetensors").read_bytes()
CONFIG = (golden.ENCODERS / "eat_tiny_hf_config.json").read_bytes()
REPOSITORY = "/worstchan/EAT-base_epoch30_pretrain/resolve/main"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`, with ranges; breaks off after `limit` bytes of an answer.

    Where `linked` is set, it points to another address and tells that hash, as
    Hugging Face does.
    """

    files: dict[str, bytes]
    limit: int | None
    linked: str | None
    asked: list[tuple[str, str]]

    def do_GET(self):
        wanted = self.headers["Range"]
        self.asked.append((self.path.rpartition("/")[2], wanted))
        content = self.files.get(self.path.removesuffix("?cdn"))
        if self.linked and not self.path.endswith("?cdn"):
            self.send_response(302)
            self.send_header("X-Linked-ETag", f'"{self.linked}"')
            self.send_header("Location", f"{self.path}?cdn")
            self.end_headers()
            return None
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if content is None:
            return self.send_error(404)
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.limit])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The handler class of a running server that stands in for Hugging Face."""
    files = {
        f"{REPOSITORY}/model.safetensors": WEIGHTS,
        f"{REPOSITORY}/config.json": CONFIG,
    }
    state = {"files": files, "limit": None, "asked": [], "linked": None}
    handler = type("Handler", (Server,), state)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=[0.01])
        thread.start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setenv(ENDPOINT_VARIABLE, handler.url)
        yield handler
        running.shutdown()
        thread.join()


def test_the_default_is_fetched_converted_and_then_read_from_the_cache(server, caplog):
    want = load_encoder("eat", golden.ENCODERS / "eat_tiny_hf.safetensors")
    for _ in range(2):
        got = load_encoder("eat")
        jax.tree.map(np.testing.assert_array_equal, got.params, want.params)
        assert got.identity() == want.identity()
    assert [name for name, _ in server.asked] == ["config.json", "model.safetensors"]
    (kept,) = cache_dir("weights").iterdir()
    assert kept.name == "EAT-base_epoch30_pretrain.safetensors"
    assert read_weights(kept).metadata["source_file"] == "model.safetensors"
    # The published file is known, and this is not it.
    assert "has 0.5 MB, not 360 MB: the authors may have replaced it" in caplog.text
    assert "not 8623072d" in caplog.text
    assert "360 MB, licence MIT" in caplog.text


def test_a_file_that_does_not_convert_is_kept(server):
    server.files[f"{REPOSITORY}/config.json"] = b'{"num_heads": 5}'
    with pytest.raises(InputError, match=r"model\.safetensors|5 heads"):
        load_encoder("eat")
    folder = cache_dir("weights") / "EAT-base_epoch30_pretrain"
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [file.name for file in cache_dir("weights").iterdir()] == [folder.name]


def test_only_one_fetches_what_several_want(server):
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: find_weights("eat", None), range(4)))
    assert len(set(found)) == 1
    assert found[0].read_bytes() == WEIGHTS
    assert [name for name, _ in server.asked] == ["config.json", "model.safetensors"]
    assert not list(cache_dir("weights").glob(".*"))


@pytest.mark.parametrize("right", [True, False])
def test_the_hash_that_the_server_tells_is_checked(server, tmp_path, right):
    server.linked = hashlib.sha256(WEIGHTS if right else b"other").hexdigest()
    target = tmp_path / "model.safetensors"
    url = f"{server.url}{REPOSITORY}/model.safetensors"
    if right:
        fetch(url, target)
        assert target.read_bytes() == WEIGHTS
        return
    with pytest.raises(OSError, match="another file than the published one"):
        fetch(url, target)
    assert not list(tmp_path.glob("model*"))


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.limit = 100_000
    target = tmp_path / "new" / "model.safetensors"
    url = f"{server.url}{REPOSITORY}/model.safetensors"
    with pytest.raises(OSError, match="connection broke"):
        fetch(url, target)
    assert not target.exists()
    server.limit = None
    fetch(url, target)
    assert target.read_bytes() == WEIGHTS
    assert [asked for _, asked in server.asked] == ["bytes=0-", "bytes=100000-"]
    assert [file.name for file in target.parent.iterdir()] == [target.name]


def test_a_part_that_is_longer_than_the_file_is_dropped(server, tmp_path):
    target = tmp_path / "model.safetensors"
    target.with_name("model.safetensors.part").write_bytes(WEIGHTS + b"more")
    fetch(f"{server.url}{REPOSITORY}/model.safetensors", target)
    assert target.read_bytes() == WEIGHTS


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:9")
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
    assert not list(cache_dir("weights").iterdir())


@pytest.mark.parametrize("right", [True, False])
def test_a_file_at_a_plain_address_must_be_the_published_one(
    server, monkeypatch, right
):
    torch_file = (golden.ENCODERS / "eat_tiny.pt").read_bytes()
    server.files["/some/set.pt"] = torch_file if right else torch_file[:-1] + b"?"
    entry = Published(
        name="set",
        encoders=("eat",),
        default_of="eat",
        licence="MIT",
        url=f"{server.url}/some/set.pt",
        sha256=hashlib.sha256(torch_file).hexdigest(),
    )
    monkeypatch.setattr("unmute_jax.weights.published.PUBLISHED", (entry,))
    if right:
        assert "set.pt" in load_encoder("eat").description
    else:
        with pytest.raises(InputError, match=r"another file .*some/set\.pt as "):
            load_encoder("eat")
        assert not list(cache_dir("weights").iterdir())


def test_what_is_not_on_hugging_face_is_asked_for(server):
    with pytest.raises(InputError, match=r"not on Hugging Face; .*1F07zN8N54r"):
        load_encoder("eat", "EAT-base_epoch10_finetune_AS2M")
    with pytest.raises(InputError, match="fetching failed: Not Found"):
        load_encoder("eat+")
    assert server.asked == [("config.json", "bytes=0-")]


def test_files_fetched_by_hand_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
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


def test_every_default_belongs_to_an_encoder():
    defaults = [entry.default_of for entry in PUBLISHED if entry.default_of]
    assert len(defaults) == len(set(defaults))
    assert set(defaults) <= set(list_encoders())
    assert all(entry.licence for entry in PUBLISHED)
    drive_ids = [entry.drive_id for entry in PUBLISHED if entry.drive_id]
    assert {len(drive_id) for drive_id in drive_ids} == {33}
