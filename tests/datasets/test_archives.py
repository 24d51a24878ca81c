import copy
import gzip
import io
import lzma
import random
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.datasets.layouts import tar, text
from tests.datasets.miniatures import MINIATURES, refusal
from unmute_jax.datasets import archives
from unmute_jax.errors import InputError


@pytest.fixture
def archive(tmp_path):
    text(tmp_path / "files" / "inner" / "a.txt", "hello")
    return tar(tmp_path / "files", tmp_path / "a.tar.gz")


def test_a_tar_is_unpacked_once(archive, monkeypatch):
    folder = archives.unpack(archive)
    assert (folder / "inner" / "a.txt").read_text() == "hello\n"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    monkeypatch.setattr(archives, "_extract", None)
    assert archives.unpack(archive) == folder


def test_a_changed_tar_is_unpacked_anew(archive, tmp_path):
    first = archives.unpack(archive)
    text(tmp_path / "files" / "b.txt", "more")
    tar(tmp_path / "files", archive)
    second = archives.unpack(archive)
    assert second != first
    assert (second / "b.txt").exists()


KILLED = (
    "import os, pathlib, signal, sys; from unmute_jax.datasets import archives\n"
    "def killed(folder, *_):\n"
    "    (folder / 'half').write_text('')\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "archives._write = killed\n"
    "archives.unpack(pathlib.Path(sys.argv[1]))"
)


def test_what_a_killed_process_has_unpacked_is_cleared(archive, own_cache):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(archive)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    [left] = (own_cache / "datasets" / "unpacked").iterdir()
    assert (left / "half").exists()
    folder = archives.unpack(archive)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert [path.name for path in folder.rglob("*")] == ["inner", "a.txt"]


def test_two_threads_unpack_once(archive, monkeypatch):
    extract, calls = archives._extract, []

    def slowly(*arguments):
        calls.append(arguments)
        time.sleep(0.2)
        extract(*arguments)

    monkeypatch.setattr(archives, "_extract", slowly)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(archives.unpack, [archive, archive])
    assert first == second
    assert len(calls) == 1


def test_others_may_read_what_was_unpacked(archive, tmp_path):
    (tmp_path / "usual").mkdir()
    usual = (tmp_path / "usual").stat().st_mode
    assert archives.unpack(archive).stat().st_mode == usual


def member(name, content=None, **about):
    """A member: a file with content, or what its type and the link say."""
    info = tarfile.TarInfo(name)
    info.size = len(content or b"")
    for key, value in about.items():
        setattr(info, key, value)
    return info, content


def link(name, target, kind=tarfile.SYMTYPE):
    return member(name, type=kind, linkname=target)


# Long components, so that the real path of what follows has more than 4,096 bytes: the
# check of `filter="data"` then looks at another path than is written (CVE-2025-4517).
LONG, STEPS = "d" * 247, "abcdefghijklmnop"
BEHIND = "/".join([*STEPS, "l" * 254])
LONG_PATH = [
    *(
        entry
        for n, step in enumerate(STEPS)
        for entry in (
            member("/".join([LONG] * (n + 1)), type=tarfile.DIRTYPE),
            link("/".join([LONG] * n + [step]), LONG),
        )
    ),
    link(BEHIND, "../" * len(STEPS)),
    link("escape", f"{BEHIND}/../../../../../out"),
    member("escape/outside.txt", b"written"),
]

MALICIOUS = {
    "a file through a symbolic link": (
        [link("in", "OUT"), member("in/outside.txt", b"written")],
        "member 'in' is a symbolic link to '.*', and only files and folders",
    ),
    "a file through a link that goes up": (
        [link("in", "../../../.."), member("in/outside.txt", b"written")],
        "member 'in' is a symbolic link to '../../../..'",
    ),
    "a symbolic link with the name of a file": (
        [link("a.txt", "OUT/outside.txt"), member("a.txt", b"written")],
        "member 'a.txt' is a symbolic link",
    ),
    "a hard link to another file": (
        [link("a.txt", "OUT/precious.txt", tarfile.LNKTYPE), member("a.txt", b"x")],
        "member 'a.txt' is a hard link to '.*precious.txt'",
    ),
    "a hard link through a symbolic link": (
        [link("in", "OUT"), link("b", "in/precious.txt", tarfile.LNKTYPE)],
        "member 'in' is a symbolic link",
    ),
    "CVE-2025-4517": (LONG_PATH, "member 'a' is a symbolic link"),
    "an absolute name": (
        [member("OUT/outside.txt", b"written")],
        "the name '/.*outside.txt' is an absolute path",
    ),
    "a climbing name": (
        [member("../../../../outside.txt", b"written")],
        "the name '../../../../outside.txt' leads out of its folder",
    ),
    "a name that climbs late": (
        [member("a/../../../../../outside.txt", b"written")],
        "the name 'a/../../../../../outside.txt' leads out of its folder",
    ),
    "a device": (
        [member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        "member 'null' is a device",
    ),
    "a disk": ([member("sda", type=tarfile.BLKTYPE)], "member 'sda' is a device"),
    "a pipe": ([member("pipe", type=tarfile.FIFOTYPE)], "member 'pipe' is a pipe"),
    "another type": ([member("v", type=b"V")], "member 'v' is a member of type b'V'"),
    "a file twice": (
        [member("a.txt", b"one"), member("./a.txt", b"two")],
        "member './a.txt' is in it twice",
    ),
    "a folder with the name of a file": (
        [member("a", b"one"), member("a/b.txt", b"two")],
        "member 'a/b.txt' (is in it twice|lies in a folder that is also a file)",
    ),
    "a file with the name of a folder": (
        [member("a/b.txt", b"two"), member("a", b"one")],
        "member 'a' is in it twice, or is both a file and a folder",
    ),
    "a newline in a name": (
        [member("a\nb.txt", b"x")],
        r"the name 'a\\nb.txt' has control characters",
    ),
    "NUL in a name": (
        [member("a", b"x", pax_headers={"path": "a\0/../../outside.txt"})],
        r"the name 'a\\x00/../../outside.txt' has control characters",
    ),
    "no name": ([member("./.", b"x")], "the name './.' names no file"),
    "a name too long for the disk": (
        [member("x" * 300, b"x")],
        "member 'xxx.* has a name that is too long for this disk",
    ),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_nothing_is_written_outside(case, tmp_path, own_cache):
    members, reason = MALICIOUS[case]
    out = tmp_path / "out"
    text(out / "precious.txt", "kept")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        for info, content in [member("first.wav", b"sound"), *members]:
            info = copy.copy(info)
            info.name = info.name.replace("OUT", str(out))
            info.linkname = info.linkname.replace("OUT", str(out))
            packed.addfile(info, None if content is None else io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=reason) as caught:
        archives.unpack(tmp_path / "a.tar")
    assert str(caught.value).startswith(f"{tmp_path}/a.tar: is refused: ")
    assert str(caught.value).isprintable()
    made = set(tmp_path.rglob("*")) - set(before)
    # The empty folder of what was unpacked, and the lock.
    assert all(path.is_relative_to(own_cache) for path in made)
    assert list((own_cache / "datasets" / "unpacked").iterdir()) == []
    assert [path.name for path in out.iterdir()] == ["precious.txt"]
    assert (out / "precious.txt").read_text() == "kept\n"


def test_names_that_differ_in_their_case_are_two_files(tmp_path):
    pack(tmp_path / "a.tar", [member("A.wav", b"one"), member("a.wav", b"two")])
    folder = archives.unpack(tmp_path / "a.tar")
    assert [(folder / name).read_bytes() for name in ("A.wav", "a.wav")] == [
        b"one", b"two"
    ]  # fmt: skip


def pack(path, members, mode="w", **options):
    with tarfile.open(path, mode, **options) as packed:
        for info, content in members:
            packed.addfile(info, None if content is None else io.BytesIO(content))
    return path


def test_a_tar_that_grows_beyond_all_measure_is_stopped(
    tmp_path, own_cache, monkeypatch
):
    monkeypatch.setattr("unmute_jax.datasets.archives.most_bytes", lambda n: 10**6)
    zeros = member("zeros.wav", bytes(2 * 10**6))
    for name, mode in (("a.tar.gz", "w:gz"), ("a.tar.bz2", "w:bz2")):
        path = pack(tmp_path / name, [zeros], mode)
        with pytest.raises(InputError, match=r"has \S+ kB and holds more than 1\.0 MB"):
            archives.unpack(path)
    assert list((own_cache / "datasets" / "unpacked").iterdir()) == []


def test_a_tar_of_too_many_members_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    path = pack(tmp_path / "a.tar", [member(f"{n}.wav", b"") for n in range(4)])
    with pytest.raises(InputError, match="is refused: more than 3 members"):
        archives.unpack(path)


def test_headers_that_claim_much_memory_are_refused(tmp_path):
    path = tmp_path / "a.tar"
    pack(path, [member("a", b"", pax_headers={"comment": "x" * (2 << 20)})],
         format=tarfile.PAX_FORMAT)  # fmt: skip
    with pytest.raises(InputError, match="a header is too long"):
        archives.unpack(path)
    # A size below zero, which led some versions of `tarfile` round in a circle.
    header = bytearray(tarfile.TarInfo("a.wav").tobuf())
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(InputError, match="not a whole tar archive"):
        archives.unpack(path)


def damage(content):
    """The archive with one byte of its audio changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:4000], "is not a whole tar archive .*cut short"),
        (lambda content: b"", "is not a whole tar archive"),
        (damage, "is not a whole tar archive"),
        (lambda content: b"<!doctype html>", "is a web page"),
        (lambda content: b"PK\3\4" + content, "is a zip archive"),
        (
            lambda content: lzma.compress(content),
            "is compressed with xz: unpack it first",
        ),
    ],
)
def test_a_damaged_tar_is_called_that(tmp_path, own_cache, change, reason):
    noise = random.Random(0).randbytes(20_000)
    path = pack(tmp_path / "a.tar.gz", [member("a.wav", noise)], "w:gz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=rf"a\.tar\.gz: {reason}"):
        archives.unpack(path)
    assert not list(own_cache.glob("datasets/unpacked/*"))


def test_a_tar_without_its_end_is_not_whole(tmp_path):
    path = pack(tmp_path / "a.tar", [member("a.wav", b"1"), member("b.wav", b"2")])
    whole = path.read_bytes()
    path.write_bytes(whole[:1024])  # Between two clips.
    with pytest.raises(InputError, match="has no mark at its end"):
        archives.unpack(path)
    long = tarfile.TarInfo("long.wav")
    long.size = 200_000_000
    path.write_bytes(long.tobuf() + bytes(5000))  # Within a long clip.
    with pytest.raises(InputError, match=r"not a whole tar archive .*cut short"):
        archives.unpack(path)
    path.write_bytes(gzip.compress(whole) + gzip.compress(whole))
    with pytest.raises(InputError, match="goes on after its end"):
        archives.unpack(path)


def test_a_tar_that_is_cut_short_is_named_and_leaves_nothing(tmp_path, own_cache):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    archive = place / "speech_commands_v0.02.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert "not a whole tar archive" in refusal("sc2", data_dir=archive)
    assert list((own_cache / "datasets" / "unpacked").iterdir()) == []


def test_on_a_full_disk_the_place_is_named_and_nothing_is_left(
    archive, own_cache, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_extract", full)
        with pytest.raises(InputError) as caught:
            archives.unpack(archive)
    unpacked = own_cache / "datasets" / "unpacked"
    message = str(caught.value)
    assert message.startswith(f"{archive}: cannot be unpacked: {unpacked}/")
    assert "No space left on device (" in message
    assert "UNMUTE_CACHE names another folder" in message
    assert list(unpacked.iterdir()) == []
    assert archives.unpack(archive).exists()


def test_an_archive_with_a_long_name_is_unpacked(archive, tmp_path):
    long = archive.rename(tmp_path / f"{240 * 'x'}.tar.gz")
    assert (archives.unpack(long) / "inner" / "a.txt").exists()
