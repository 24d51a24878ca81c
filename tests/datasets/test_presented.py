import pytest

from tests.datasets.hub_folders import push, sounds, two_classes
from unmute_jax.datasets.presented import Presented, table_copy
from unmute_jax.errors import InputError


@pytest.fixture
def copy(tmp_path):
    place = push(tmp_path / "copy", {"train": two_classes(4)}, shards=2)
    return table_copy(place, "Birds")


def test_rows_have_the_names_of_files(copy, tmp_path):
    rows = copy.rows("train", ["label"])
    assert [row["label"] for row in rows] == ["on", "off", "on", "off"]
    names = {f"audio/{i}.wav": row["name"] for i, row in enumerate(rows)}
    names["audio/9.wav"] = "data/other.parquet/0"
    files = Presented(copy.files, names, {"meta.csv": b"a,b"})
    assert files.read("audio/2.wav") == sounds(4)[2]["bytes"]
    assert files.read("meta.csv") == b"a,b"
    assert files.names("audio") == sorted(names)
    assert files.names() == [*sorted(names), "meta.csv"]
    assert files.missing([*names, "meta.csv", "x"]) == ["audio/9.wav", "x"]
    assert files.where("audio/3.wav").endswith("train-00001-of-00002.parquet, row 1")
    assert files.where("meta.csv") == f"{tmp_path / 'copy'} as meta.csv"
    with pytest.raises(InputError, match=r"copy as audio/8\.wav: there is no such row"):
        files.read("audio/8.wav")


def test_stamps_follow_tables_names_and_contents(copy):
    names = {"a": "data/train-00000-of-00002.parquet/0"}
    made = {"meta.csv": b"a"}
    stamps = {
        Presented(copy.files, of, holding).stamp([*of, *holding])
        for of in (names, {"a": "data/train-00000-of-00002.parquet/1"})
        for holding in (made, {"meta.csv": b"b"})
    }
    assert len(stamps) == 4


def test_columns_and_splits_that_are_not_there_are_told(copy):
    assert copy.column("labels", "label") == "label"
    assert copy.names_of("label") == ("on", "off")
    with pytest.raises(InputError) as caught:
        copy.column("fold", "folds")
    told = "cannot be read as Birds: its tables have no column fold or folds, only "
    assert f"{copy.root}: {told}audio, label; hf:{copy.root} reads" in str(caught.value)
    with pytest.raises(InputError, match="it has no split test, only train; hf:"):
        copy.split("test")


def test_other_places_are_none(tmp_path):
    assert table_copy(tmp_path, "Birds") is None
    assert table_copy(tmp_path / "nowhere", "Birds") is None
    # A folder with everything is not searched to its bottom.
    push(tmp_path / "a" / "b" / "c", {"train": two_classes(2)})
    assert table_copy(tmp_path, "Birds") is None
    assert table_copy(tmp_path / "a", "Birds").splits == ("train",)
