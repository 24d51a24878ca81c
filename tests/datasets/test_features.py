import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.hub_folders import hub_dataset, sounds
from unmute_jax.datasets.features import (
    Feature,
    audio_column,
    features_of,
    label_column,
)
from unmute_jax.datasets.parquet import open_table
from unmute_jax.errors import InputError

BOTH = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_features_that_the_library_writes_are_read(tmp_path):
    from datasets import ClassLabel, LargeList, List, Value

    names = ClassLabel(names=["on", "off"])
    columns = {
        "audio": sounds(2),
        "label": [0, 1],
        "many": [[0], [1]],
        "large": [[0], []],
        "deep": [[[0]], []],
        "text": ["a", "b"],
    }
    made = hub_dataset(
        columns,
        label=names,
        many=List(names),
        large=LargeList(names),
        deep=List(List(names)),
        text=Value("string"),
    )
    made.to_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    # The README may know what the table does not say.
    card = {"label": Feature("value"), "text": Feature("label", ("a",))}
    assert features_of(table, card) == {
        "audio": Feature("audio"),
        "label": Feature("label", ("on", "off")),
        "many": Feature("labels", ("on", "off")),
        "large": Feature("labels", ("on", "off")),
        "deep": Feature("value"),
        "text": Feature("label", ("a",)),
    }
    card = {"many": Feature("labels", ("off", "on"))}
    with pytest.raises(
        InputError, match=r"column many: its classes are on, off, \.\.\."
    ):
        features_of(table, card)


def test_features_that_older_versions_wrote_are_read(tmp_path):
    names = {"names": ["a", "b"], "_type": "ClassLabel", "id": None}
    features = {
        "one": {"feature": names, "length": -1, "_type": "Sequence"},
        "two": [names],
        "three": {"num_classes": 2, "names": None, "_type": "ClassLabel"},
    }
    text = str({"info": {"features": features}}).replace("'", '"')
    table = pa.table(
        {"one": [[0]], "two": [[1]], "three": [0]}
    ).replace_schema_metadata({"huggingface": text.replace("None", "null")})
    pq.write_table(table, tmp_path / "t.parquet")
    assert features_of(open_table(tmp_path / "t.parquet"), {}) == {
        "one": Feature("labels", ("a", "b")),
        "two": Feature("labels", ("a", "b")),
        "three": Feature("label"),
    }


def test_features_may_be_of_any_depth(tmp_path):
    deep = {"names": ["a", "b"], "_type": "ClassLabel"}
    for _ in range(200):
        deep = {"feature": deep, "_type": "List"}
    text = json.dumps({"info": {"features": {"a": deep}}})
    table = pa.table({"a": [[0]]}).replace_schema_metadata({"huggingface": text})
    pq.write_table(table, tmp_path / "t.parquet")
    assert features_of(open_table(tmp_path / "t.parquet"), {}) == {
        "a": Feature("value")
    }


def opened(folder, columns):
    """Writes an empty table with columns of some types."""
    arrays = {name: pa.array([], kind) for name, kind in columns.items()}
    pq.write_table(pa.table(arrays), folder / "t.parquet")
    return open_table(folder / "t.parquet")


def find(folder, find_column, columns, declared=None, given=""):
    table = opened(folder, columns)
    features = {name: Feature("value") for name in columns} | (declared or {})
    return find_column(table, features, given)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"label": pa.int64(), "sound": BOTH, "image": pa.string()}, "sound"),
        ({"file": pa.string(), "mp3": pa.list_(pa.uint8())}, "mp3"),
        ({"name": pa.string(), "wav": pa.large_binary()}, "wav"),
        ({"text": pa.string(), "file": pa.string(), "path": pa.string()}, "file"),
    ],
)
def test_audio_is_found_by_its_type(tmp_path, columns, found):
    assert find(tmp_path, audio_column, columns) == found


def test_declared_columns_come_first(tmp_path):
    columns = {"a": BOTH, "b": BOTH, "label": pa.int64(), "labels": pa.int64()}
    told = "t.parquet: does not say which column holds the audios; it may be a, b; "
    with pytest.raises(InputError, match=told):
        find(tmp_path, audio_column, columns)
    assert find(tmp_path, audio_column, columns, {"b": Feature("audio")}) == "b"
    assert find(tmp_path, audio_column, columns, given="a") == "a"
    assert find(tmp_path, label_column, columns, {"a": Feature("label")}) == "a"
    two = {"labels": Feature("labels"), "a": Feature("label")}
    assert find(tmp_path, label_column, columns, two) == "labels"
    with pytest.raises(InputError, match="which column holds the labels; it may be la"):
        find(tmp_path, label_column, columns)


def test_columns_that_are_not_there_are_told(tmp_path):
    columns = {"sound": pa.float32(), "kind": pa.string()}
    with pytest.raises(
        InputError,
        match=r"there are sound, kind; name it with dataset_options\.audio_c",
    ):
        find(tmp_path, audio_column, columns)
    with pytest.raises(
        InputError,
        match=r"there are sound, kind; name it with dataset_options\.label_c",
    ):
        find(tmp_path, label_column, columns)
    with pytest.raises(
        InputError, match=r"label_column of .* 'kinds': did you mean 'k"
    ):
        find(tmp_path, label_column, columns, given="kinds")
