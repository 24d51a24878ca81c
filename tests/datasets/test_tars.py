import gzip
import io
import json
import tarfile

import pytest

from tests.datasets.layouts import encoded
from unmute_jax.datasets.tars import Tars, find_tars
from unmute_jax.errors import InputError

SOUND = encoded(1, 8000, 0.05)


def pack(path, members):
    """Writes a tar archive; a member without content is a link to another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
                continue
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_members_are_read_at_their_places(tmp_path):
    text = json.dumps({"label": "dog"}).encode()
    one = pack(
        tmp_path / "a" / "0.tar",
        [("x/k.flac", SOUND), ("x/k.json", text), ("./Y_1.000_2.000.WAV", b"wave")],
    )
    two = pack(tmp_path / "b" / "0.tar", [("k.txt", b"cat"), ("k.mp3", b"sound")])
    files = Tars([one, two])
    assert files.samples.keys() == {"a/0.tar", "b/0.tar"}
    [k, y], [other] = files.samples.values()
    assert files.read(k.audio) == SOUND
    assert dict(k.labels) == {".json": text}
    assert files.read(y.audio) == b"wave"
    assert not y.labels
    assert (files.read(other.audio), dict(other.labels)) == (b"sound", {".txt": b"cat"})
    assert files.where(k.audio) == f"{one}/x/k.flac"
    assert files.names("a") == sorted([k.audio, y.audio])
    assert files.missing([k.audio, "a/0.tar/no.wav"]) == ["a/0.tar/no.wav"]
    assert not files.notes
    before = files.stamp([k.audio])
    pack(one, [("x/k.flac", SOUND)])
    assert files.stamp([k.audio]) != before
    assert files.stamp([other.audio]) == Tars([one, two]).stamp([other.audio])


def test_what_is_left_out_is_counted(tmp_path):
    members = [("a.wav", SOUND), ("a.npy", b"0"), ("b.wav", None), ("c.json", b"{}")]
    files = Tars([pack(tmp_path / "t.tar", members)])
    assert [s.audio for s in files.samples["t.tar"]] == ["t.tar/a.wav"]
    assert files.notes == [
        "left out: 1 members that end in .npy",
        "left out: 1 members that are links, devices or sparse files",
        "left out: 1 members with labels and no audio",
    ]
    with pytest.raises(InputError, match=r"t\.tar/b\.wav: cannot be read"):
        files.read("t.tar/b.wav")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.wav", SOUND), ("a.flac", SOUND)], r"t\.tar/a\.flac: another member"),
        ([("a.wav", SOUND), ("a.wav", SOUND)], r"t\.tar/a\.wav: another member"),
        ([("a.json", b"1"), ("a.json", b"2")], r"a\.json: is twice in the archive"),
        ([("a.json", bytes(2 << 20))], r"a\.json: has 2,097,152 bytes, too many"),
    ],
)
def test_ambiguous_members_are_refused(tmp_path, members, message):
    path = pack(tmp_path / "t.tar", members)
    with pytest.raises(InputError, match=message):
        Tars([path])


def test_archives_that_are_not_whole_are_refused(tmp_path):
    path = pack(tmp_path / "t.tar", [("a.wav", bytes(3000)), ("b.wav", bytes(999))])
    whole = path.read_bytes()
    ends = {
        1000: "is not a whole tar archive",  # within a clip
        5000: "is not a whole tar archive",  # within the second clip
        512 + 3072: "has no mark at its end",  # between two clips
        0: "is not a whole tar archive",
    }
    for end, message in ends.items():
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=rf"t\.tar: {message}"):
            Tars([path])
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(InputError, match=r"t\.tar: is a Git LFS pointer"):
        Tars([path])
    path.write_bytes(whole + whole)
    with pytest.raises(InputError, match="tar --concatenate, not with cat"):
        Tars([path])
    path.write_bytes(whole[:3000] + b"x" * 2000 + whole[5000:])
    with pytest.raises(InputError, match=r"whole tar archive \(a header is damaged\)"):
        Tars([path])
    long = tarfile.TarInfo("long.wav")
    long.size = 200_000_000
    path.write_bytes(long.tobuf() + bytes(5000))
    with pytest.raises(InputError, match=r"not a whole tar archive .*cut short"):
        Tars([path])
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(InputError, match="is compressed, so clips cannot be read one"):
        Tars([path])


@pytest.mark.parametrize("name", ["/a.wav", "x/../../a.wav"])
def test_members_that_lie_elsewhere_are_refused(tmp_path, name):
    # Clips are named after them, and files of results after clips.
    path = pack(tmp_path / "t.tar", [(name, SOUND)])
    with pytest.raises(InputError, match=rf"t\.tar: is refused: the name '{name}' "):
        Tars([path])


def test_patterns_name_archives(tmp_path, monkeypatch):
    for name in ("t-00", "t-01", "t-09", "t-10", "v-0", "x"):
        pack(tmp_path / f"{name}.tar", [])

    def names(pattern):
        return [path.stem for path in find_tars(pattern)]

    monkeypatch.chdir(tmp_path)
    assert names("t-{00..01}.tar") == ["t-00", "t-01"]
    assert names("t-{10..09}.tar") == ["t-09", "t-10"]
    assert names("{v-0,x}.tar") == ["v-0", "x"]
    assert names(f"{tmp_path}/t-*.tar") == ["t-00", "t-01", "t-09", "t-10"]
    assert names("{t-*,v-?}.tar") == ["t-00", "t-01", "t-09", "t-10", "v-0"]
    assert names(".") == ["t-00", "t-01", "t-09", "t-10", "v-0", "x"]
    with pytest.raises(InputError, match=r"^t-02\.tar: there is no such tar archive"):
        names("t-{00..03}.tar")
    with pytest.raises(InputError, match="stands for too many archives"):
        names("t-{0..999999999999}.tar")
    with pytest.raises(InputError, match="are read from a disk; download them first"):
        names("https://zenodo.org/records/1/files/t-{00..01}.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: has no tar archives"):
        names("empty")
    (tmp_path / "z.tar.gz").touch()
    with pytest.raises(InputError, match=r"z\.tar\.gz: is no \.tar file"):
        names(".")
