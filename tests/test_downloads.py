"""Downloads from a local server that answers as Hugging Face does."""

import concurrent.futures
import hashlib
import os
import pathlib
import stat
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.hub import running_hub
from unmute_jax import downloads
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE

CONTENT = bytes(range(256)) * 400
FILE = "/owner/name/resolve/main/weights.bin"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.files[FILE] = CONTENT
        yield hub


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between two attempts, which take no time here."""
    made = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


def refusal(*arguments, **options):
    """What the user reads, behind the address."""
    with pytest.raises(InputError) as caught:
        downloads.fetch_from_hub(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition(": ")[2]


def test_a_file_of_the_hub_is_downloaded_once(hub, caplog):
    for _ in range(2):
        path = downloads.fetch_from_hub("owner/name", "weights.bin")
        assert path.read_bytes() == CONTENT
    assert path == downloads.find_in_hub_cache("owner/name", "weights.bin")
    assert [name for name, _ in hub.downloads] == ["weights.bin"]
    assert caplog.messages == [f"downloading {hub.url}{FILE} (102.4 kB)"]


def test_a_broken_download_from_the_hub_goes_on_where_it_stopped(
    hub, pauses, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.breaks_after = 50_000
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.downloads][1:] == ["bytes=50000-"]


def test_a_process_of_its_own_reads_the_environment(hub, tmp_path):
    # The library reads its variables when it is imported, here only once.
    program = (
        "import sys\n"
        "from unmute_jax import downloads\n"
        "print(downloads.fetch_from_hub('owner/name', 'weights.bin'))\n"
        "try:\n"
        "    downloads.fetch_from_hub('owner/name', 'other.bin')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    home = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    home.pop("HF_HUB_CACHE", None)
    hub.lifetime = 1
    for offline, other in (("0", "has no such file"), ("1", "HF_HUB_OFFLINE is set")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**home, "HF_HUB_OFFLINE": offline},
            capture_output=True,
            text=True,
            check=True,
        )
        path, message = done.stdout.splitlines()
        assert path.startswith(str(tmp_path / "home" / "hub"))
        assert pathlib.Path(path).read_bytes() == CONTENT
        assert other in message
    assert len(hub.downloads) == 1


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


def test_what_the_hub_does_not_have_is_named(hub):
    file = refusal("owner/name", "other.bin")
    assert file == "the repository has no such file"
    revision = refusal("owner/name", "weights.bin", revision="v3")
    assert revision == "the repository has no such branch, tag or commit"
    repository = refusal("owner/other", "weights.bin")
    assert repository.startswith("there is no such repository, or it is private: set ")


def test_repositories_with_conditions_open_with_a_token(hub, monkeypatch):
    hub.refused["owner/name"] = 401, "GatedRepo"
    assert refusal("owner/name", "weights.bin") == (
        "ask for access on the page of the repository, then set HF_TOKEN, or run `hf "
        "auth login`"
    )
    hub.refused["owner/name"] = 401, "RepoNotFound"
    assert "it is private: set HF_TOKEN" in refusal("owner/name", "weights.bin")
    hub.refused["owner/name"] = 403, ""
    assert "your token does not give access" in refusal("owner/name", "weights.bin")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "your token is not valid; set HF" in refusal("owner/name", "weights.bin")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    hub.tokens.add("hf_right")
    hub.lifetime = 1
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert not hub.strangers


def test_signed_addresses_are_followed_and_renewed(hub, pauses, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    # After the cut, the address has expired.
    hub.lifetime, hub.breaks_after = 1, 50_000
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.downloads] == [None, None]
    assert pauses


def test_a_busy_hub_is_asked_again_when_it_says(hub, pauses, caplog):
    hub.failures = [(429, {"Retry-After": "3"}), (503, {}), None, None, (502, {})]
    path = downloads.fetch_from_hub("owner/name", "weights.bin")
    assert path.read_bytes() == CONTENT
    assert pauses == [3, 2, 1]
    message = "the server answers 429 Too Many Requests; trying again in 3 s"
    assert message in caplog.messages


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        ((429, {"Retry-After": "900"}), "with a token it allows more (set HF_TOKEN"),
        ((503, {}), "503 Service Unavailable: try again later"),
    ],
)
def test_a_hub_that_stays_busy_is_named(hub, pauses, failure, advice):
    hub.failures = [failure] * 10
    assert advice in refusal("owner/name", "weights.bin")
    assert max(pauses, default=0) < 60


def test_a_file_of_another_size_is_not_kept(hub):
    hub.cut = 10
    assert refusal("owner/name", "weights.bin") == (
        "it arrived with another size; try again"
    )
    hub.cut = 0
    assert downloads.fetch_from_hub("owner/name", "weights.bin").exists()


def test_a_file_that_does_not_fit_is_not_begun(hub, monkeypatch):
    with monkeypatch.context() as full:
        free = SimpleNamespace(free=50_000)
        full.setattr("shutil.disk_usage", lambda folder: free)
        with pytest.raises(
            InputError, match=r"need 102\.4 kB but \S+ has 50\.0 kB free"
        ):
            downloads.fetch_from_hub("owner/name", "weights.bin")
    assert not hub.downloads
    assert downloads.fetch_from_hub("owner/name", "weights.bin").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        # As hf_xet raises it.
        (RuntimeError("Data processing error: reset"), "error: reset (check the net"),
    ],
)
def test_an_error_while_a_file_is_written_is_one_line(hub, monkeypatch, error, line):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    assert line in refusal("owner/name", "weights.bin")


def test_several_may_want_one_file_at_once(hub, tmp_path):
    together = threading.Barrier(4)

    def from_hub(_):
        together.wait()
        return downloads.fetch_from_hub("owner/name", "weights.bin").read_bytes()

    def from_web(_):
        together.wait()
        return downloads.download(hub.url + FILE, tmp_path / "web").read_bytes()

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for fetch in (from_hub, from_web):
            assert set(threads.map(fetch, range(4))) == {CONTENT}
    assert len(hub.downloads) == 2


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


def test_a_web_file_that_breaks_off_goes_on_where_it_stopped(
    hub, tmp_path, pauses, monkeypatch
):
    monkeypatch.setattr(downloads, "_CHUNK", 10_000)
    hub.breaks_after = 50_000
    path = downloads.download(hub.url + FILE, tmp_path)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.downloads] == [None, "bytes=50000-"]
    assert pauses == [1]


def test_a_web_file_that_changes_in_between_is_sent_again(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_CHUNK", 10_000)
    hub.breaks_after = 50_000
    change = {FILE: CONTENT[::-1]}
    monkeypatch.setattr("time.sleep", lambda seconds: hub.files.update(change))
    path = downloads.download(hub.url + FILE, tmp_path)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_busy_web_server_is_asked_again_when_it_says(hub, tmp_path, pauses):
    hub.failures = [(429, {"Retry-After": "3"}), (503, {})]
    path = downloads.download(hub.url + FILE, tmp_path)
    assert path.read_bytes() == CONTENT
    assert pauses == [3, 2]
    hub.failures = [(503, {})] * 10
    with pytest.raises(InputError, match="answers 503 Service Unavailable"):
        downloads.download(hub.url + FILE, tmp_path, name="again.bin")


def test_a_web_file_that_always_breaks_off_is_not_kept(hub, tmp_path, monkeypatch):
    def break_again(seconds):
        hub.breaks_after = 0

    monkeypatch.setattr("time.sleep", break_again)
    hub.breaks_after = 1000
    with pytest.raises(InputError, match="cannot download"):
        downloads.download(hub.url + FILE, tmp_path / "web")
    assert len(hub.downloads) == 4
    assert not list((tmp_path / "web").iterdir())


def test_a_page_instead_of_an_archive_is_not_kept(hub, tmp_path):
    hub.files["/data.zip"] = b"<html>"
    with pytest.raises(InputError, match="no zip archive"):
        downloads.download(f"{hub.url}/data.zip", tmp_path)
    assert not list(tmp_path.glob("*.zip"))


def test_a_data_set_is_listed_and_read_at_one_commit(hub, monkeypatch, tmp_path):
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


def test_a_list_of_before_serves_while_the_hub_is_down(
    hub, pauses, caplog, monkeypatch
):
    hub.files["/datasets/owner/name/resolve/main/README.md"] = b"# A data set"
    listing = downloads.hub_files("owner/name")
    hub.failures = [(503, {})] * 10
    assert downloads.hub_files("owner/name") == listing
    assert "the list of files is the one of before" in caplog.text
    hub.failures = []
    with pytest.raises(InputError, match="no such branch, tag or commit"):
        downloads.hub_files("owner/name", revision="v3")


def test_an_unknown_data_set_is_named(hub):
    with pytest.raises(InputError, match="owner/other: there is no such repository"):
        downloads.hub_files("owner/other")
    with pytest.raises(InputError, match="owner/na me"):
        downloads.hub_files("owner/na me")


def test_a_name_that_leads_out_of_the_cache_is_not_fetched(hub):
    with pytest.raises(InputError, match=r"owner/name: the name '\.\./x' leads"):
        downloads.fetch_from_hub("owner/name", "../x")
    assert not hub.downloads


def test_what_a_killed_download_leaves_is_cleared(hub, tmp_path):
    code = (
        "import os, signal, sys, tqdm; from unmute_jax import downloads\n"
        "downloads._append = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "downloads.download(sys.argv[1], downloads.pathlib.Path(sys.argv[2]))"
    )
    url, folder = hub.url + FILE, tmp_path / "web"
    subprocess.run([sys.executable, "-c", code, url, str(folder)], timeout=60)
    assert len(list(folder.rglob("tmp*"))) == 1
    downloads.download(url, folder)
    assert [path.name for path in folder.rglob("*")] == [FILE.rpartition("/")[2]]
