"""Zip archives and npz files that are damaged or malicious."""

import io
import random
import zipfile

import numpy as np
import pytest

from unmute_jax import zips
from unmute_jax.errors import InputError

NOISE = random.Random(0).randbytes(20_000)


def pack(path, *members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def read(path, name="a.wav"):
    with zips.open_zip(path) as archive:
        return zips.read_member(archive, name)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read(tmp_path, method):
    path = pack(tmp_path / "a.zip", ("./x/Ä:1.wav", NOISE), method=method)
    assert read(path, "./x/Ä:1.wav") == NOISE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/cron.d/x", "'/etc/cron.d/x' is an absolute path"),
        ("a/../../x", "'a/../../x' leads out of its folder"),
        ("a\nb.wav", r"'a\\nb.wav' has control characters"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, reason):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE), (name, b"x"))
    with pytest.raises(InputError, match=rf"a\.zip: is refused: the name {reason}"):
        zips.open_zip(path)


def test_a_name_that_goes_on_behind_nul_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav#/../../x", b"x"))
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    with pytest.raises(InputError, match="has control characters"):
        zips.open_zip(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", b"one"), ("a.wav", b"two"))
    with pytest.raises(InputError, match=r"is refused: 'a\.wav' is in it twice"):
        zips.open_zip(path)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "MOST_MEMBERS", 2)
    path = pack(tmp_path / "a.zip", *((f"{n}.wav", b"") for n in range(3)))
    with pytest.raises(InputError, match="it has more than 2 members"):
        zips.open_zip(path)


def rewritten(path, change):
    """The archive with each entry of its list of members changed."""
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\1\2")
    while start >= 0:
        change(content, start)
        start = content.find(b"PK\1\2", start + 4)
    path.write_bytes(content)
    return path


def number(content, start, size, value):
    content[start : start + size] = value.to_bytes(size, "little")


def test_a_member_that_grows_beyond_all_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "most_bytes", lambda packed: 100 * packed)
    path = pack(tmp_path / "a.zip", ("zeros.wav", bytes(3_000_000)))
    line = r"it would grow from \d\.\d kB to 3\.0 MB, as few recordings or ta"
    with pytest.raises(InputError, match=f"is refused: {line}"):
        zips.open_zip(path)
    # Beside large members, the whole archive is not conspicuous.
    with zipfile.ZipFile(path) as archive:
        with pytest.raises(InputError, match=line):
            zips.read_member(archive, "zeros.wav")


def test_a_list_that_claims_too_much_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE), ("b.wav", NOISE))

    def grow(content, start):
        number(content, start + 24, 4, 4_000_000_000)

    with pytest.raises(InputError, match=r"would grow from \S+ kB to 8\.0 GB"):
        zips.open_zip(rewritten(path, grow))


def test_members_that_overlap_are_refused(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE), ("b.wav", NOISE))

    def overlap(content, start):
        number(content, start + 20, 4, 30_000)

    with pytest.raises(InputError, match="is refused: its members overlap"):
        zips.open_zip(rewritten(path, overlap))


def test_encrypted_members_are_named_as_such(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE))

    def encrypt(content, start):
        content[start + 8] |= 1

    with pytest.raises(InputError, match="is encrypted: unpack the archive with its"):
        read(rewritten(path, encrypt))


@pytest.mark.parametrize(
    ("method", "name"),
    [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "zstd"), (77, "method 77")],
)
def test_unusual_methods_are_named(tmp_path, method, name):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE))

    def change(content, start):
        number(content, start + 10, 2, method)

    with pytest.raises(InputError, match=f"is compressed with {name}; only deflate"):
        read(rewritten(path, change))


def test_a_symbolic_link_is_not_read_as_a_file(tmp_path):
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("a.wav")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    pack(path, (link, "/etc/passwd"))
    with pytest.raises(InputError, match="is a symbolic link, not a file"):
        read(path)


def test_damaged_members_are_one_line(tmp_path):
    whole = pack(tmp_path / "a.zip", ("a.wav", NOISE + bytes(20_000))).read_bytes()
    draw, lines = random.Random(1), []
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 3, 30])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / "b.zip").write_bytes(content[: draw.choice([None, None, -100])])
        try:
            assert read(tmp_path / "b.zip") == NOISE + bytes(20_000)
        except InputError as error:
            lines.append(str(error))
    assert len(lines) > 100
    assert all(line.isprintable() for line in lines)


def test_what_is_no_zip_archive_is_called_that(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="is not a zip archive, or its download was"):
        zips.open_zip(tmp_path / "a.zip")
    with pytest.raises(InputError, match=r"b\.zip: cannot be read: No such file"):
        zips.open_zip(tmp_path / "b.zip")


def test_arrays_are_read_as_they_were_written(tmp_path):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3),
        "y": np.asfortranarray(np.eye(3, dtype=np.int8)),
        "text": np.asarray(["a", "bc"]),
        "none": np.zeros((0, 4), np.float32),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = zips.read_npz(tmp_path / "a.npz", arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def npy(shape, data, dtype="<f4"):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return out.getvalue() + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy((10**9, 10**9), b""), "is damaged"),
        (npy((2,), bytes(7)), "is damaged"),
        (npy((2,), bytes(12)), "is damaged"),
        (npy((1,), bytes(8), "|O"), "holds Python objects, not numbers"),
        (b"\x93NUMPY\x01\x00\x05\x00{'a':", "is damaged"),
        (b"", "is damaged"),
    ],
)
def test_damaged_arrays_are_named(tmp_path, content, reason):
    path = pack(tmp_path / "a.npz", ("x.npy", content))
    with pytest.raises(InputError, match=rf"a\.npz: its array x {reason}"):
        zips.read_npz(path, ["x"])
    with pytest.raises(InputError, match="its array y is not in the archive"):
        zips.read_npz(path, ["y"])


def test_a_name_without_characters_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", (zipfile.ZipInfo(""), b"x"), ("a.wav", NOISE))
    with pytest.raises(InputError, match=r"a\.zip: is refused: "):
        zips.open_zip(path)


def test_the_reason_of_a_damaged_member_is_short(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE))
    data = bytearray(path.read_bytes())
    # The length of the name in front of the member, which then goes on in its content.
    data[26:28] = (60_000 % len(NOISE)).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked: ") as refused:
        read(path)
    assert len(str(refused.value)) < 150
    assert str(refused.value).isprintable()


def test_a_list_that_hides_members_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", ("a.wav", NOISE), ("b.wav", NOISE), ("c.wav", b"x"))
    data = bytearray(path.read_bytes())
    # The comment of the first member then goes on over the second one.
    at = data.index(b"PK\1\2")
    data[at + 32] = 46 + len("b.wav")
    path.write_bytes(data)
    with pytest.raises(InputError, match="its list has 2 of 3 members"):
        zips.open_zip(path)
