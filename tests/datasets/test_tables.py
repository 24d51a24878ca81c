import pytest

from tests.datasets.layouts import text
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.tables import read_table
from unmute_jax.errors import InputError


def read(folder, *lines, columns=("file", "labels"), **options):
    text(folder / "table.csv", *lines)
    return read_table(Folder(folder), "table.csv", columns, **options)


def test_quotes_spaces_and_byte_order_marks_are_read(tmp_path):
    (line,) = read(tmp_path, "\ufefffile, labels", '"a, b.wav", "x, y,x"\r', "")
    assert line["file"] == "a, b.wav"
    assert line.names("labels") == ["x", "y"]
    assert line.where == f"{tmp_path}/table.csv, line 2"
    assert line.get("group") == ""


def test_comments_are_skipped_only_where_a_table_has_them(tmp_path):
    lines = ["#1.wav,x", "2.wav,y"]
    assert len(read(tmp_path, *lines, has_header=False)) == 2
    assert len(read(tmp_path, *lines, has_header=False, has_comments=True)) == 1


@pytest.mark.parametrize("value", ["one", "", "nan", "inf"])
def test_times_are_finite_numbers(value, tmp_path):
    (line,) = read(tmp_path, "file,onset", f"a.wav,{value}", columns=("file",))
    with pytest.raises(InputError, match=f"line 2: onset is '{value}', not seconds"):
        line.seconds("onset")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["name,labels"], "has no column file, only name, labels"),
        ([], "has no column file, labels, only nothing"),
        (["file,labels", "a.wav"], "line 2: has more or fewer fields than the 2"),
    ],
)
def test_mistakes_in_a_table_are_named(lines, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        read(tmp_path, *lines)


def test_a_table_that_is_no_text_is_named(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_table(Folder(tmp_path), "table.csv", ("file",))
