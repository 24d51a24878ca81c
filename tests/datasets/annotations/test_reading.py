"""The annotations of a folder, and of a table."""

import pytest

from unmute_jax.datasets.annotations.reading import read_annotations
from unmute_jax.errors import InputError

RAVEN = "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
ROBIN, WREN = "1\t1\t2\trobin\n", "2\t3\t4\twren\n"


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of text files, and names its recordings."""

    def make(texts, *recordings):
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path, {name: tmp_path / name for name in recordings}

    return make


def labels(found):
    return {k: [e.label for e in events] for k, events in found.events.items()}


def test_tables_and_tracks_of_a_folder_are_read(folder):
    place, recordings = folder(
        {
            "s1/a.Table.1.selections.txt": RAVEN + ROBIN,
            "s1/b.txt": "0\t1\twren\n",
            "s2/c.txt": "",
            "s2/d.selections.txt": RAVEN,
            "s2/.e.txt": RAVEN + ROBIN,
            "notes.txt": "windy",
        },
        *("s1/a.wav", "s1/b.wav", "s2/c.wav", "s2/d.wav", "s2/e.wav"),
    )
    found = read_annotations(place, recordings)
    # An empty track or table says that nothing sounds; no file says nothing.
    assert labels(found) == {
        "s1/a.wav": ["robin"], "s1/b.wav": ["wren"], "s2/c.wav": [], "s2/d.wav": [],
    }  # fmt: skip
    assert not found.lost
    assert found.notes == ["text files that are no annotations: 1, such as notes.txt"]


def test_folders_are_followed_as_those_of_recordings_are(folder):
    place, recordings = folder({"elsewhere/a.txt": RAVEN + ROBIN}, "root/site/a.wav")
    (place / "root").mkdir()
    (place / "root" / "site").symlink_to(place / "elsewhere")
    found = read_annotations(place / "root", recordings)
    assert labels(found) == {"root/site/a.wav": ["robin"]}


def test_one_table_may_annotate_several_recordings(folder):
    header = RAVEN.replace("Species", "Begin File\tFile Offset (s)\tSpecies")
    text = f"{header}1\t1\t2\ta.wav\t1\trobin\n2\t61\t62\tb.wav\t1\twren\n"
    place, recordings = folder({"project.txt": text}, "a.wav", "b.wav")
    assert labels(read_annotations(place, recordings)) == {
        "a.wav": ["robin"], "b.wav": ["wren"],
    }  # fmt: skip
    del recordings["b.wav"]
    (lost,) = read_annotations(place, recordings).lost
    assert lost == f"{place}/project.txt: there is no recording b.wav"


def test_several_tables_of_one_recording_are_joined_and_this_is_told(folder):
    place, recordings = folder(
        {"a.Table.1.txt": RAVEN + ROBIN, "a.Table.2.txt": RAVEN + WREN}, "a.wav"
    )
    found = read_annotations(place, recordings)
    assert labels(found) == {"a.wav": ["robin", "wren"]}
    assert "several files of annotations, which are joined" in found.notes[0]


@pytest.mark.parametrize(
    "texts",
    [
        # What `predict` wrote beside the annotations of a person.
        {"a.txt": RAVEN + ROBIN, "predicted/raven/a.wav.txt": RAVEN + WREN},
        {"raven/a.wav.txt": RAVEN + ROBIN, "audacity/a.wav.txt": "1\t2\trobin\n"},
        {"a.Table.1.txt": RAVEN + ROBIN, "a.txt": "1\t2\trobin\n"},
    ],
)
def test_annotations_that_may_be_there_twice_are_refused(folder, texts):
    place, recordings = folder(texts, "a.wav")
    with pytest.raises(InputError, match=r"a\.wav has annotations in .* and in"):
        read_annotations(place, recordings)


def test_a_text_that_should_be_an_annotation_is_refused(folder):
    place, recordings = folder({"a.txt": "windy\n"}, "a.wav")
    with pytest.raises(
        InputError, match=r"named like the recording a\.wav, but is nei"
    ):
        read_annotations(place, recordings)


def test_an_old_encoding_is_read_and_told(folder):
    place, recordings = folder({}, "a.wav")
    (place / "a.txt").write_bytes("0\t1\tm\u00f6we\n".encode("latin-1"))
    found = read_annotations(place, recordings)
    assert labels(found) == {"a.wav": ["m\u00f6we"]}
    assert "was read as Windows-1252" in found.notes[0]


def test_a_table_of_events_gives_groups_and_splits(folder):
    text = (
        "file,onset,offset,label,site,split\n"
        "a.wav,1,2,robin,north,train\n"
        "a.wav,3,4,wren,north,train\n"
        "b.wav,,,,south,\n"
        "c.wav,1,2,wren,south,\n"
    )
    place, recordings = folder({"t.csv": text}, "a.wav", "b.wav")
    found = read_annotations(place / "t.csv", recordings)
    assert labels(found) == {"a.wav": ["robin", "wren"], "b.wav": []}
    assert found.groups == {"a.wav": "north", "b.wav": "south"}
    assert found.splits == {"a.wav": "train"}
    assert found.lost == [f"{place}/t.csv, line 5: there is no recording c.wav"]
    (place / "t.csv").write_text(text.replace("3,4,wren,north", "3,4,wren,south"))
    with pytest.raises(
        InputError, match="the group 'south', but 'north' in an earlier"
    ):
        read_annotations(place / "t.csv", recordings)
