import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.miniatures import MINIATURES, refusal
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.parquet import open_table, read_rows
from unmute_jax.errors import InputError

ROWS = [{"id": i, "names": ["a"] * i, "audio": {"bytes": b"x"}} for i in range(5)]


def test_optional_columns_may_be_missing(place_of):
    files = Folder(place_of("as20k"))
    rows = read_rows(files, "data/eval/01.parquet", ["video_id"], ["labels", "length"])
    assert [sorted(row) for row in rows] == [["labels", "length", "video_id"]]
    assert rows[0]["length"] is None


def write(path, table, chunk):
    """Writes a table in one of the three formats that tables come in."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=chunk)
        return
    new = pa.ipc.new_file if path.stem == "file" else pa.ipc.new_stream
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=chunk)


@pytest.mark.parametrize("name", ["table.parquet", "stream.arrow", "file.arrow"])
def test_tables_are_read_in_groups(tmp_path, name):
    write(tmp_path / name, pa.Table.from_pylist(ROWS), 2)
    table = open_table(tmp_path / name)
    assert table.sizes == (2, 2, 1)
    assert table.rows(["names", "id"]) == [
        {"names": row["names"], "id": row["id"]} for row in ROWS
    ]
    assert table.rows([]) == [{}] * 5
    assert table.group(1, ["audio"])["audio"].to_pylist() == [{"bytes": b"x"}] * 2
    with pytest.raises(InputError, match="has no column label, only id, names, audio"):
        table.rows(["label"])


@pytest.mark.parametrize("name", ["table.parquet", "stream.arrow"])
def test_groups_know_whether_they_lack_bytes(tmp_path, name):
    audio = [{"bytes": b"x", "path": "a"}, {"bytes": None, "path": "b"}]
    write(tmp_path / name, pa.table({"audio": audio}), 1)
    table = open_table(tmp_path / name)
    assert [table.lacks(i, "audio", "bytes") for i in range(2)] == [False, True]
    assert table.lacks(0, "audio", "length")


def test_features_of_other_programs_are_not_taken_for_those_of_datasets(tmp_path):
    deep = b'{"info": {"features": ' + b"[" * 99_999
    for text in (b"{", b"[]", b'{"info": 3}', b'{"info": {"features": [1]}}', deep):
        table = pa.table({"a": np.arange(2)}).replace_schema_metadata(
            {b"huggingface": text}
        )
        pq.write_table(table, tmp_path / "t.parquet")
        assert open_table(tmp_path / "t.parquet").features == {}


def test_a_file_that_is_no_such_table_is_named(tmp_path):
    place = MINIATURES["as20k"].make(tmp_path)
    path = place / "data" / "eval" / "00.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: is no parquet file" in refusal("as20k", data_dir=place)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert f"{path}: is a Git LFS pointer" in refusal("as20k", data_dir=place)
    pq.write_table(pq.read_table(path.with_name("01.parquet")).drop(["labels"]), path)
    assert "has no column labels, only video_id" in refusal("as20k", data_dir=place)


def test_damage_inside_a_table_is_told(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [str(i) for i in range(9)] * 99}), path)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet: is damaged"):
        open_table(path).rows(["a"])
    path = tmp_path / "t.arrow"
    write(path, pa.Table.from_pylist(ROWS), 2)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="is no Arrow file, or its download was cut"):
        open_table(path)


def test_what_would_end_the_process_is_refused(tmp_path):
    path = tmp_path / "t.arrow"
    write(path, pa.table({"a": [b"xy", b"z", b""]}), 3)
    whole = path.read_bytes()
    offsets = struct.pack("<4i", 0, 2, 3, 3)
    assert offsets in whole
    path.write_bytes(whole.replace(offsets, struct.pack("<4i", 0, 2, 1 << 30, 3)))
    with pytest.raises(InputError, match=r"t\.arrow: is no Arrow file, or its downlo"):
        open_table(path)
    write(path, pa.table({"names": [{"inner": 1}]}), 3)
    whole = path.read_bytes()
    for name in (b"names", b"inner"):
        path.write_bytes(whole.replace(name, b"\xff\xfe\xff\xfe\xff"))
        with pytest.raises(InputError, match="is no Arrow file, or its download was"):
            open_table(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'unmute-jax\[parquet\]'"):
        open_table(tmp_path / "t.parquet")
