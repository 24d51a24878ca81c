"""Downloads from a local server, caches and files that are written atomically."""

import hashlib
import os
import stat

import pytest

from tests.hub import running_hub
from unmute_jax import io
from unmute_jax.errors import InputError

CONTENT = bytes(range(256)) * 400
FILE = "/owner/name/resolve/main/weights.bin"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.files[FILE] = CONTENT
        yield hub


def test_a_file_of_the_hub_is_downloaded_once(hub, caplog):
    for _ in range(2):
        path = io.fetch_from_hub("owner/name", "weights.bin")
        assert path.read_bytes() == CONTENT
    assert path == io.find_in_hub_cache("owner/name", "weights.bin")
    assert [name for name, _ in hub.downloads] == ["weights.bin"]
    assert caplog.messages == [f"downloading {hub.url}{FILE} (102.4 kB)"]


def test_a_broken_download_from_the_hub_goes_on_where_it_stopped(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.breaks_after = 50_000
    path = io.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.downloads][1:] == ["bytes=50000-"]


def test_revisions_and_data_sets_have_files_of_their_own(hub):
    hub.files["/datasets/owner/name/resolve/v2/weights.bin"] = b"another"
    path = io.fetch_from_hub(
        "owner/name", "weights.bin", revision="v2", repo_type="dataset"
    )
    assert path.read_bytes() == b"another"


def test_without_a_network_the_cache_still_answers(hub, monkeypatch):
    path = io.fetch_from_hub("owner/name", "weights.bin")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert io.fetch_from_hub("owner/name", "weights.bin") == path
    with pytest.raises(InputError) as caught:
        io.fetch_from_hub("owner/name", "other.bin")
    message = str(caught.value)
    assert "cannot download http://127.0.0.1:9/owner/name/resolve/main/o" in message
    assert "check the network connection" in message
    assert "\n" not in message


def test_the_hub_can_be_switched_off(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        io.fetch_from_hub("owner/name", "weights.bin")


def test_a_file_that_the_hub_does_not_have_is_named(hub):
    with pytest.raises(InputError, match=r"main/other\.bin: the server answers 404"):
        io.fetch_from_hub("owner/name", "other.bin")


def test_a_damaged_file_of_the_hub_is_not_kept(hub):
    hub.tags[FILE] = hashlib.sha256(b"as it was published").hexdigest()
    with pytest.raises(InputError, match="it arrived damaged; try again"):
        io.fetch_from_hub("owner/name", "weights.bin")
    assert io.find_in_hub_cache("owner/name", "weights.bin") is None


def test_a_web_file_is_downloaded_once_and_readable_by_others(hub, tmp_path):
    folder = tmp_path / "new"
    checksum = hashlib.sha256(CONTENT).hexdigest()
    for _ in range(2):
        path = io.download(hub.url + FILE, folder, checksum=checksum, name="w.bin")
        assert path.read_bytes() == CONTENT
    assert path == folder / "w.bin"
    assert len(hub.downloads) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("checksum", ["0" * 64, f"md5:{'0' * 32}"])
def test_a_web_file_with_another_checksum_is_not_kept(hub, tmp_path, checksum):
    with pytest.raises(InputError, match=r"expected \S*0000 but got"):
        io.download(hub.url + FILE, tmp_path, checksum=checksum)
    assert not list(tmp_path.glob("*.bin"))


def test_a_web_file_that_cannot_be_had_is_named_in_one_line(hub, tmp_path):
    with pytest.raises(InputError, match=r"/missing: the server answers 404"):
        io.download(f"{hub.url}/missing", tmp_path)
    with pytest.raises(InputError, match="check the network connection") as caught:
        io.download("http://127.0.0.1:9/any", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_web_file_that_breaks_off_is_not_kept(hub, tmp_path):
    hub.breaks_after = 1000
    with pytest.raises(InputError, match="cannot download"):
        io.download(hub.url + FILE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_instead_of_an_archive_is_not_kept(hub, tmp_path):
    hub.files["/data.zip"] = b"<html>"
    with pytest.raises(InputError, match="no zip archive"):
        io.download(f"{hub.url}/data.zip", tmp_path)
    assert not list(tmp_path.glob("*.zip"))


def test_a_url_is_no_folder_of_caches(monkeypatch):
    monkeypatch.setenv(io.CACHE_VARIABLE, "gs://bucket/caches")
    with pytest.raises(InputError, match="must be a folder"):
        io.cache_dir("tokens")
    monkeypatch.setenv(io.TOKENS_VARIABLE, "gs://bucket/tokens")
    assert io.token_root() == "gs://bucket/tokens"


def test_two_writers_with_the_same_process_id_do_not_meet(monkeypatch, tmp_path):
    # As in two containers that share a disk.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    target = tmp_path / "new" / "record.json"
    with io.writing(target) as first:
        first.write(b"first")
        io.write_atomically(target, "second")
        assert target.read_text() == "second"
    assert target.read_bytes() == b"first"
    assert os.listdir(target.parent) == [target.name]


def test_a_file_that_is_not_finished_does_not_appear(tmp_path):
    def write_half():
        with io.writing(tmp_path / "a.json") as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())


def test_a_file_is_readable_by_those_who_may_read_its_folder(tmp_path):
    for folder, file in ((0o750, 0o640), (0o1777, 0o644)):
        tmp_path.chmod(folder)
        io.write_atomically(tmp_path / "a.json", "1")
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == file
