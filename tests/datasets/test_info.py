import hashlib

import pytest

from tests.hub import running_hub
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download, as_table, obtain
from unmute_jax.errors import InputError


@pytest.fixture
def publisher(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub") as server:
        yield server


def info_of(home, md5=None):
    return DatasetInfo(
        name="two/parts",
        title="Two Parts",
        task="single-label",
        classes=2,
        splits={"train": 1200, "test": 0},
        layout="verified",
        checked="",
        files="a folder with one.csv and two.csv",
        licence="CC0",
        citation="",
        home=home,
        downloads=(
            Download(url=f"{home}/one.csv", name="one.csv"),
            Download(url=f"{home}/x?two", name="two.csv", megabytes=1200, md5=md5),
        ),
    )


def find(place):
    return find_files(place, "one.csv", ())


def test_interrupted_downloads_go_on_with_the_next_file(publisher, own_cache):
    publisher.files["/one.csv"] = b"first"
    info = info_of(publisher.url)
    with pytest.raises(InputError) as caught:
        obtain(info, None, find)
    message = str(caught.value)
    assert message.startswith(f"two/parts: Two Parts is not in {info.folder}: ")
    assert f"cannot download {publisher.url}/x?two" in message
    assert f"  2. get {publisher.url}/x?two (about 1,200 MB) as two.csv" in message
    # The first file stays, but it is not taken for the data set.
    publisher.files["/x?two"] = b"second"
    files = obtain(info, None, find)
    assert files.read("two.csv") == b"second"
    assert [name for name, _ in publisher.downloads] == ["one.csv", "x?two"]
    obtain(info, None, find)
    assert len(publisher.downloads) == 2
    folder = own_cache / "datasets" / "two"
    assert sorted(path.name for path in folder.iterdir()) == ["one.csv", "two.csv"]


def test_a_file_with_another_checksum_is_not_kept(publisher, own_cache):
    publisher.files.update({"/one.csv": b"first", "/x?two": b"changed"})
    md5 = hashlib.md5(b"second").hexdigest()
    with pytest.raises(InputError, match=md5):
        obtain(info_of(publisher.url, md5), None, find)
    assert not (own_cache / "datasets" / "two" / "two.csv").exists()


def test_a_place_that_holds_something_else_is_described(tmp_path):
    for i in range(7):
        (tmp_path / "other" / str(i)).mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        obtain(info_of("https://example.org"), tmp_path / "other", find)
    assert str(caught.value) == (
        f"{tmp_path / 'other'}: no Two Parts here, only 0, 1, 2, 3, 4, 2 more; give a "
        "folder with one.csv and two.csv"
    )


def test_the_table_has_a_row_for_each_data_set():
    head, _, row = as_table([info_of("https://example.org")]).splitlines()
    assert head.count("|") == row.count("|")
    assert "| `two/parts` | Two Parts | 2 | single-label | accuracy " in row
    assert "train 1,200, test (official splits)" in row
