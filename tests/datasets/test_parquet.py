import pyarrow.parquet as pq
import pytest

from tests.datasets.miniatures import MINIATURES, refusal
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.parquet import AudioRows, read_rows
from unmute_jax.errors import InputError


def test_optional_columns_may_be_missing(place_of):
    files = Folder(place_of("as20k"))
    rows = read_rows(files, "data/eval/01.parquet", ["video_id"], ["labels", "length"])
    assert [sorted(row) for row in rows] == [["labels", "length", "video_id"]]
    assert rows[0]["length"] is None


def test_rows_are_files(place_of):
    files = AudioRows(Folder(place_of("as20k")))
    names = files.names("data/bal_train")
    assert names[:2] == ["data/bal_train/00.parquet/0", "data/bal_train/00.parquet/1"]
    assert all(files.read(name).startswith(b"fLaC") for name in names)
    lost = ["data/bal_train/07.parquet/0"]
    assert files.missing([*names, *lost]) == lost
    with pytest.raises(InputError, match=r"00\.parquet, row 9: there is no such row"):
        files.read("data/bal_train/00.parquet/9")


def test_a_file_that_is_no_such_table_is_named(tmp_path):
    place = MINIATURES["as20k"].make(tmp_path)
    path = place / "data" / "eval" / "00.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: is no parquet file" in refusal("as20k", data_dir=place)
    pq.write_table(pq.read_table(path.with_name("01.parquet")).drop(["labels"]), path)
    assert "has no column labels, only video_id" in refusal("as20k", data_dir=place)
