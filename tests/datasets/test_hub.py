"""Finds data sets in folders and on a server that answers as the hub does."""

import re
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.hub_folders import push, sounds, two_classes
from tests.datasets.miniatures import refusal
from tests.hub import running_hub
from unmute_jax.datasets import load_dataset
from unmute_jax.datasets.hub import find_copy
from unmute_jax.errors import InputError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        yield hub


def publish(hub, folder, repository="owner/name", branch="main"):
    """Puts the files of a folder on the server."""
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            content = path.read_bytes()
            hub.files[f"/datasets/{repository}/resolve/{branch}/{name}"] = content


def test_a_data_set_of_the_hub_is_downloaded_once(hub, tmp_path, monkeypatch, caplog):
    splits = {name: two_classes(6, name) for name in ("train", "test", "huge")}
    publish(hub, push(tmp_path / "made", splits))
    dataset = load_dataset("hf:owner/name")
    assert dataset.source == "owner/name at 0123456, columns audio and label"
    assert dataset.splits == {"train": 4, "validation": 2, "test": 6}
    # What is not used is not downloaded.
    names = ["README.md", "test-00000-of-00001.parquet", "train-00000-of-00001.parquet"]
    assert sorted(name for name, _ in hub.downloads) == names
    assert "owner/name: downloading 2 files (3" in caplog.text
    load_dataset("hf:owner/name", folds="3", train_from="train,test")
    assert len(hub.downloads) == 3
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load_dataset("hf:owner/name").fingerprints == dataset.fingerprints
    assert "cannot download" in refusal("hf:owner/other")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_dataset("hf:owner/name").fingerprints == dataset.fingerprints
    assert "HF_HUB_OFFLINE is set" in refusal("hf:owner/name", train_from="huge")


def test_a_data_set_that_does_not_fit_is_not_begun(hub, tmp_path, monkeypatch):
    splits = {name: two_classes(6, name) for name in ("train", "test")}
    publish(hub, push(tmp_path / "made", splits))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=25_000))
    line = r"the 2 files of owner/name need \d+\.\d kB but \S+ has 25\.0 kB free"
    assert re.search(line, refusal("hf:owner/name"))
    assert [name for name, _ in hub.downloads] == ["README.md"]


def test_audio_beside_the_tables_is_downloaded(hub, tmp_path):
    made = tmp_path / "made" / "data"
    made.mkdir(parents=True)
    for i, sound in enumerate(sounds(6)):
        (made / f"{i}.flac").write_bytes(sound["bytes"])
    names = [f"{i}.flac" for i in range(6)]
    labels = ["a", "b"] * 3
    pq.write_table(
        pa.table({"file_name": names, "label": labels}), made / "metadata.parquet"
    )
    publish(hub, tmp_path / "made")
    lost = hub.files.pop("/datasets/owner/name/resolve/main/data/3.flac")
    told = refusal("hf:owner/name")
    assert "1 of its 6 files are missing, the first is " in told
    assert "metadata.parquet, row 3" in told
    hub.files["/datasets/owner/name/resolve/main/data/3.flac"] = lost
    assert sum(load_dataset("hf:owner/name").splits.values()) == 6


def test_a_data_set_without_tables_is_refused(hub, tmp_path):
    hub.files["/datasets/owner/name/resolve/main/clips/0.tar"] = b"tar"
    hub.files["/datasets/owner/name/resolve/main/README.md"] = b"# clips"
    told = refusal("hf:owner/name")
    assert "owner/name: has no parquet or Arrow files, only .tar; " in told
    (tmp_path / "a.wav").touch()
    told = refusal(f"hf:{tmp_path}")
    reads = f"folder:{tmp_path} or wds:{tmp_path} reads folders of audio and tar arc"
    assert f".wav; {reads}" in told
    assert "data sets on the hub are named hf:OWNER/NAME" in refusal("hf:esc50")
    assert "data_dir is not used" in refusal(f"hf:{tmp_path}", data_dir=tmp_path)


def test_what_the_hub_converted_is_used_where_there_are_no_tables(hub, tmp_path):
    hub.files["/datasets/owner/name/resolve/main/name.py"] = b"# a loading script"
    two_classes(6).to_parquet(tmp_path / "0000.parquet")
    content = (tmp_path / "0000.parquet").read_bytes()
    branch = "refs/convert/parquet"
    name = f"/datasets/owner/name/resolve/{branch}/default/partial-train/0000.parquet"
    hub.files[name] = content
    dataset = load_dataset("hf:owner/name")
    assert sum(dataset.splits.values()) == 6
    assert "partial-train is only a part of the split" in dataset.notes


@pytest.mark.parametrize(
    "address",
    [
        "hf:https://huggingface.co/datasets/owner/name",
        "hf:https://huggingface.co/datasets/owner/name/tree/main/data",
        "hf:https://huggingface.co/datasets/owner/name/viewer?row=1",
    ],
)
def test_the_address_of_a_page_names_its_data_set(hub, tmp_path, address):
    publish(hub, push(tmp_path / "made", {"train": two_classes(6)}))
    assert load_dataset(address).name == "hf:owner/name"


def test_the_head_of_a_readme_is_read(tmp_path):
    two_classes(4).to_parquet(tmp_path / "train.parquet")
    readme = tmp_path / "README.md"
    for head, licence in (
        ("license: mit", "mit"),
        ("license: [mit, cc0]", "mit, cc0"),
        ("tags: [birds]", ""),
    ):
        readme.write_text(f"---\n{head}\n---\n# Birds\n")
        assert find_copy(str(tmp_path)).licence == licence
    for text in ("", "# Birds\n", "---\n"):
        readme.write_text(text)
        assert find_copy(str(tmp_path)).licence == ""
    for head in ("a: [b", "- a\n- b", "a: " + "[" * 9999):
        readme.write_text(f"---\n{head}\n---\n")
        with pytest.raises(
            InputError, match=r"README\.md: its head is no YAML mapping"
        ):
            find_copy(str(tmp_path))
