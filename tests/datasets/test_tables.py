import pytest

from tests.datasets.layouts import text
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.tables import read_table, read_text
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
        (["file,labels,file", "a.wav,x,b.wav"], "has two columns file"),
    ],
)
def test_mistakes_in_a_table_are_named(lines, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        read(tmp_path, *lines)


@pytest.mark.parametrize(
    ("head", "row", "delimiter"),
    [
        ("file,labels", "a.wav,x;y", None),
        ("file;labels", 'a.wav;"x;y"', None),
        ("file\tlabels", "a.wav\tx;y", None),
        ("sep=;\r\nfile;labels", 'a.wav;"x;y"', None),
        ("\ufeffsep=|\nfile|labels", "a.wav|x;y", None),
        ("file;labels;;", 'a.wav;"x;y";;', None),
        ("file,labels", "a.wav,x;y", ","),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_of_spreadsheets(head, row, delimiter, end, tmp_path):
    if end == "\r" and "\n" in head:
        head = head.replace("\r\n", end).replace("\n", end)
    (tmp_path / "t.csv").write_bytes(f"{head}{end}{row}{end}".encode())
    columns = ("file", "labels")
    (line,) = read_table(Folder(tmp_path), "t.csv", columns, delimiter=delimiter)
    assert (line["file"], line.names("labels", ";")) == ("a.wav", ["x", "y"])


def test_a_decimal_comma_is_read_where_commas_separate_nothing(tmp_path):
    (tmp_path / "t.csv").write_text("onset;offset\n0,25;1.5\n1.000,5;2\n")
    one, two = read_table(Folder(tmp_path), "t.csv", ("onset",), delimiter=None)
    assert (one.seconds("onset"), one.seconds("offset")) == (0.25, 1.5)
    with pytest.raises(InputError, match=r"onset is '1\.000,5', not seconds"):
        two.seconds("onset")
    (line,) = read(tmp_path, "onset,file", '"1,500",a.wav', columns=("onset",))
    with pytest.raises(InputError, match="onset is '1,500', not seconds"):
        line.seconds("onset")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_unicode_is_recognised(encoding, tmp_path):
    (tmp_path / "t.csv").write_bytes("file,labels\na.wav,Möwe Ł\n".encode(encoding))
    notes = []
    assert read_text(Folder(tmp_path), "t.csv", notes).endswith("a.wav,Möwe Ł\n")
    assert notes == []


def test_another_encoding_is_refused_or_guessed_and_told(tmp_path):
    path, files = tmp_path / "t.csv", Folder(tmp_path)
    path.write_bytes("file,labels\na.wav,Möwe\n".encode("cp1252"))
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_text(files, "t.csv")
    notes = []
    assert read_text(files, "t.csv", notes).endswith("a.wav,Möwe\n")
    (note,) = notes
    assert note.endswith("was read as Windows-1252, for example 'Möwe'")
    path.write_bytes(b"a.wav,\x81\x83\x8d\n")
    with pytest.raises(InputError, match="neither in UTF-8 nor in Windows-1252"):
        read_text(files, "t.csv", [])
    path.write_bytes(b"PK\x03\x04 a workbook")
    with pytest.raises(InputError, match="is a workbook"):
        read_text(files, "t.csv", [])


def test_a_table_that_is_no_text_is_named(tmp_path):
    for data in (b"\xff\xfe\x00\x80\x00\xd8", b"\x00\xff\x00" * 30, b"a\x00b"):
        (tmp_path / "table.csv").write_bytes(data)
        with pytest.raises(InputError, match="not a text file in UTF-8"):
            read_table(Folder(tmp_path), "table.csv", ("file",))
