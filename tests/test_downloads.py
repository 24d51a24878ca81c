"""Downloads from a local server that answers as Hugging Face does."""

import hashlib
import stat

import pytest

from tests.hub import running_hub
from unmute_jax import downloads
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE

CONTENT = bytes(range(256)) * 400
FILE = "/owner/name/resolve/main/weights.bin"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.files[FILE] = CONTENT
        yield hub


def test_a_file_of_the_hub_is_downloaded_once(hub, caplog):
    for _ in range(2):
        path = downloads.fetch_from_hub("owner/name", "weights.bin")
        assert path.read_bytes() == CONTENT
    assert path == downloads.find_in_hub_cache("owner/name", "weights.bin")
    assert [name for name, _ in hub.downloads] == ["weights.bin"]
    assert caplog.messages == [f"downloading {hub.url}{FILE} (102.4 kB)"]


def test_a_broken_download_from_the_hub_goes_on_where_it_stopped(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.breaks_after = 50_000
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.downloads][1:] == ["bytes=50000-"]


def test_revisions_and_data_sets_have_files_of_their_own(hub):
    hub.files["/datasets/owner/name/resolve/v2/weights.bin"] = b"another"
    path = downloads.fetch_from_hub(
        "owner/name", "weights.bin", revision="v2", repo_type="dataset"
    )
    assert path.read_bytes() == b"another"


def test_without_a_network_the_cache_still_answers(hub, monkeypatch):
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert downloads.fetch_from_hub("owner/name", "weights.bin") == path
    with pytest.raises(InputError) as caught:
        downloads.fetch_from_hub("owner/name", "other.bin")
    message = str(caught.value)
    assert "cannot download http://127.0.0.1:9/owner/name/resolve/main/o" in message
    assert "check the network connection" in message
    assert "\n" not in message


def test_the_hub_can_be_switched_off(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        downloads.fetch_from_hub("owner/name", "weights.bin")


def test_a_file_that_the_hub_does_not_have_is_named(hub):
    with pytest.raises(InputError, match=r"main/other\.bin: the server answers 404"):
        downloads.fetch_from_hub("owner/name", "other.bin")


def test_a_damaged_file_of_the_hub_is_not_kept(hub):
    hub.tags[FILE] = hashlib.sha256(b"as it was published").hexdigest()
    with pytest.raises(InputError, match="it arrived damaged; try again"):
        downloads.fetch_from_hub("owner/name", "weights.bin")
    assert downloads.find_in_hub_cache("owner/name", "weights.bin") is None


def test_a_web_file_is_downloaded_once_and_readable_by_others(hub, tmp_path):
    folder = tmp_path / "new"
    checksum = hashlib.sha256(CONTENT).hexdigest()
    for _ in range(2):
        path = downloads.download(
            hub.url + FILE, folder, checksum=checksum, name="w.bin"
        )
        assert path.read_bytes() == CONTENT
    assert path == folder / "w.bin"
    assert len(hub.downloads) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("checksum", ["0" * 64, f"md5:{'0' * 32}"])
def test_a_web_file_with_another_checksum_is_not_kept(hub, tmp_path, checksum):
    with pytest.raises(InputError, match=r"expected \S*0000 but got"):
        downloads.download(hub.url + FILE, tmp_path, checksum=checksum)
    assert not list(tmp_path.glob("*.bin"))


def test_a_web_file_that_cannot_be_had_is_named_in_one_line(hub, tmp_path):
    with pytest.raises(InputError, match=r"/missing: the server answers 404"):
        downloads.download(f"{hub.url}/missing", tmp_path)
    with pytest.raises(InputError, match="check the network connection") as caught:
        downloads.download("http://127.0.0.1:9/any", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_web_file_that_breaks_off_is_not_kept(hub, tmp_path):
    hub.breaks_after = 1000
    with pytest.raises(InputError, match="cannot download"):
        downloads.download(hub.url + FILE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_instead_of_an_archive_is_not_kept(hub, tmp_path):
    hub.files["/data.zip"] = b"<html>"
    with pytest.raises(InputError, match="no zip archive"):
        downloads.download(f"{hub.url}/data.zip", tmp_path)
    assert not list(tmp_path.glob("*.zip"))


def test_a_data_set_is_listed_and_read_at_one_commit(hub, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    hub.files["/datasets/owner/name/resolve/main/data/train.parquet"] = CONTENT
    hub.files["/datasets/owner/name/resolve/main/README.md"] = b"# A data set"
    listing = downloads.hub_files("owner/name")
    assert dict(listing.sizes) == {"data/train.parquet": 102_400, "README.md": 12}
    path = downloads.fetch_from_hub(
        "owner/name", "data/train.parquet", revision=listing.commit, repo_type="dataset"
    )
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert downloads.hub_files("owner/name") == listing
    with pytest.raises(InputError, match="datasets/owner/other: HF_HUB_OFFLINE is set"):
        downloads.hub_files("owner/other")


def test_an_unknown_data_set_is_named(hub):
    with pytest.raises(InputError, match="owner/other: there is no such repository"):
        downloads.hub_files("owner/other")
    with pytest.raises(InputError, match="owner/na me"):
        downloads.hub_files("owner/na me")
