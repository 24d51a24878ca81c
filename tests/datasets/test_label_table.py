"""Tables of labels, as people and spreadsheets write them."""

import pytest

from unmute_jax.datasets.label_table import read_label_table
from unmute_jax.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Reads a table from its text or bytes."""

    def read(content):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "l.csv").write_bytes(data)
        return read_label_table(tmp_path / "l.csv")

    return read


def refusal(read, content):
    with pytest.raises(InputError) as caught:
        read(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("utf-8-sig", False), ("utf-16", False), ("cp1252", True)],
)
def test_a_table_as_excel_writes_it(read, encoding, told):
    text = (
        "File;Labels;Split;Onset;Offset\r\n"
        'grün.wav;"Möwe; dog";val;0,5;1,25\r\n'
        "b.wav;;Training;;\r\n"
        ";;;;\r\n"
    )
    (one, two), notes = read(text.encode(encoding))
    assert one.file == "grün.wav"
    assert one.labels == ("Möwe", "dog")
    assert one.events == (("Möwe", 0.5, 1.25), ("dog", 0.5, 1.25))
    assert (one.split, two.split) == ("validation", "train")
    assert two.labels == two.events == ()
    assert [note.split(" was ")[-1] for note in notes] == [
        "read as Windows-1252, for example 'grün'"
    ] * told


def test_labels_and_groups_are_normalised_and_each_is_there_once(read):
    (one, two), _ = read(
        "file,labels,group\na.wav,Möwe; Mo\u0308we ;dog,Süd\n"
        "b.wav,\u00a0dog,Su\u0308d \n"
    )
    assert one.labels == ("Möwe", "dog")
    assert two.labels == ("dog",)
    assert one.group == two.group == "Süd"


def test_paths_are_written_in_one_way(read, tmp_path):
    (tmp_path / r"odd\name.wav").touch()
    entries, _ = read(
        "file,labels\n.\\audio\\a.wav,x\n./audio//b.wav,x\nodd\\name.wav,y\n"
    )
    assert [e.file for e in entries] == ["audio/a.wav", "audio/b.wav", r"odd\name.wav"]


@pytest.mark.parametrize(
    "other", ["./a.wav", "x/../a.wav", ".\\a.wav", "Mo\u0308we.wav"]
)
def test_a_file_that_is_named_twice_is_refused_however_it_is_written(read, other):
    first = "Möwe.wav" if "\u0308" in other else "a.wav"
    assert "2 times; only a file" in refusal(
        read, f"file,labels\n{first},x\n{other},y\n"
    )


def test_columns_that_mean_something_else_are_told(read):
    _, (fold, comma) = read('file,labels,fold\na.wav,"x, y",1\nb.wav,z,2\n')
    assert fold.startswith("the column fold is not used; call it group")
    assert comma.startswith("'x, y': counts as one class")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no clip"),
        ("name,labels\na.wav,x\n", "has no column file, only name, labels"),
        ("file,labels,split\na.wav,x,trian\n", "line 2: unknown split 'trian'"),
        ("file,labels,onset\na.wav,x,1\n", "onset and offset go together"),
        ("file,labels,onset,offset\na.wav,,0,1\n", "line 2: an event needs a label"),
        ("file,labels\n,x\n", "line 2: names no file"),
    ],
)
def test_mistakes_are_named(read, text, message):
    assert message in refusal(read, text)
