import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.layouts import encoded
from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets.audio_rows import AudioRows, holds_audio, is_bytes
from unmute_jax.errors import InputError

SOUND = encoded(1, 8000, 0.05)
BOTH = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def rows(folder, audio, kind=None, name="t.parquet", is_published=False):
    """Writes a table with a column of audio, in groups of two rows."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(audio, kind)
    pq.write_table(pa.table({"audio": column}), path, row_group_size=2)
    return AudioRows(folder, is_published=is_published)


def test_rows_are_files(place_of):
    root = place_of("as20k")
    files = AudioRows(root)
    names = files.names("data/bal_train")
    assert names[:2] == ["data/bal_train/00.parquet/0", "data/bal_train/00.parquet/1"]
    tables = {"data/bal_train/00.parquet", "data/bal_train/01.parquet"}
    audio = {name: pq.read_table(root / name)["audio"].to_pylist() for name in tables}
    for name in names:
        table, _, row = name.rpartition("/")
        assert files.read(name) == audio[table][int(row)]["bytes"]
    lost = ["data/bal_train/07.parquet/0"]
    assert files.missing([*names, *lost]) == lost
    with pytest.raises(InputError, match=r"00\.parquet, row 9: there is no such row"):
        files.read("data/bal_train/00.parquet/9")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (SOUND, pa.binary()),
        (SOUND, pa.large_binary()),
        (list(SOUND), pa.list_(pa.uint8())),
        ({"bytes": SOUND}, pa.struct({"bytes": pa.binary()})),
        ({"bytes": SOUND, "path": "gone.wav"}, BOTH),
        (
            {"bytes": SOUND, "rate": 8000},
            pa.struct({"bytes": pa.large_binary(), "rate": pa.int64()}),
        ),
    ],
)
def test_bytes_may_be_stored_in_several_types(tmp_path, value, kind):
    files = rows(tmp_path, [None, value, value], kind)
    assert holds_audio(kind)
    assert files.read("t.parquet/2") == SOUND
    with pytest.raises(InputError, match=r"t\.parquet, row 0: column audio is empty"):
        files.read("t.parquet/0")
    assert not files.missing(files.names())


@pytest.mark.parametrize("kind", [pa.string(), BOTH, pa.struct({"path": pa.string()})])
def test_a_row_may_name_a_file_beside_the_table_or_below_the_root(tmp_path, kind):
    for path in ("data/a.wav", "clips/b.wav"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    there = ["a.wav", "clips/b.wav", "c.wav"]
    values = there if kind == pa.string() else [{"path": path} for path in there]
    files = rows(tmp_path, values, kind, "data/t.parquet")
    assert files.read("data/t.parquet/0") == b"data/a.wav"
    assert files.read("data/t.parquet/1") == b"clips/b.wav"
    assert files.missing(files.names()) == ["data/t.parquet/2"]
    with pytest.raises(InputError, match=r"t\.parquet, row 2: .* only the path c\.wav"):
        files.read("data/t.parquet/2")
    before = files.stamp(files.names())
    (tmp_path / "data" / "a.wav").write_bytes(b"other sound")
    assert files.stamp(files.names()) != before


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_samples_that_are_decoded_already(tmp_path, kind):
    struct = pa.struct({
        "array": pa.list_(kind), "path": pa.string(), "sampling_rate": pa.int64()
    })  # fmt: skip
    samples = np.linspace(-1.5, 1.5, 99, dtype=np.float32)
    values = [{"array": samples, "path": "x.wav", "sampling_rate": 22_050}, None]
    values += [{"array": None, "path": "x.wav", "sampling_rate": 8000}]
    files = rows(tmp_path, values, struct)
    waveform, rate = decode_audio(files.read("t.parquet/0"), "row 0")
    np.testing.assert_array_equal(waveform, samples)
    assert rate == 22_050
    for row in (1, 2):
        with pytest.raises(InputError, match=f"row {row}: column audio is empty"):
            files.read(f"t.parquet/{row}")
    assert not files.missing(files.names())


def test_rows_name_their_audio(tmp_path):
    values = [{"bytes": SOUND, "path": "a.wav"}, {"bytes": SOUND, "path": None}, None]
    assert rows(tmp_path, values, BOTH).file_names("t.parquet") == ["a.wav", "", ""]
    arrow = pa.table({"audio": pa.array(values, BOTH)})
    with pa.ipc.new_stream(tmp_path / "t.arrow", arrow.schema) as writer:
        writer.write_table(arrow)
    assert AudioRows(tmp_path).file_names("t.arrow") == ["a.wav", "", ""]
    assert rows(tmp_path, ["a", None]).file_names("t.parquet") == ["a", ""]
    assert rows(tmp_path, [SOUND]).file_names("t.parquet") == [""]


def test_somebody_elses_table_leads_to_no_file_of_this_machine(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"mine")
    for path in ("../secret.wav", str(tmp_path / "secret.wav")):
        own = rows(tmp_path / "d", [path, "x"])
        assert own.read("t.parquet/0") == b"mine"
        published = rows(tmp_path / "d", [path, "x"], is_published=True)
        with pytest.raises(InputError, match="there is no such file"):
            published.read("t.parquet/0")


@pytest.mark.parametrize(
    "value",
    [
        3,
        [0.5, 0.25],
        {"array": [1], "path": "a.wav", "sampling_rate": 8000},
        {"array": [0.5], "path": "a.wav"},
        {"bytes": "a"},
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path, value):
    files = rows(tmp_path, [value])
    with pytest.raises(InputError, match=r"column audio holds .*, not audio, which is"):
        list(files.rows("t.parquet", []))


def test_types():
    assert is_bytes(pa.large_binary())
    assert not is_bytes(pa.string())
    assert not holds_audio(pa.struct({}))
    assert not holds_audio(pa.list_(pa.list_(pa.uint8())))
    assert not holds_audio(pa.from_numpy_dtype(np.float32))
