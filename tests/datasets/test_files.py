import shutil
import unicodedata
import zipfile

import pytest

from tests.datasets.layouts import text
from unmute_jax.datasets.files import Folder, Joined, Mounted, Zip
from unmute_jax.errors import InputError

NAMES = ["a/1.txt", "a/b/2.txt", "c.txt"]
LEFT_OUT = (".hidden", "__MACOSX/a/._1.txt", "a/@eaDir/1.txt", ".git/c.txt")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        text(tmp_path / "files" / name, name)
    return tmp_path / "files"


@pytest.fixture(params=["folder", "zip", "joined", "mounted"])
def files(request, folder, tmp_path):
    """The same files, read in every way."""
    if request.param == "folder":
        for name in LEFT_OUT:
            text(folder / name, "")
        return Folder(folder)
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
            for name in NAMES:
                archive.write(folder / name, f"root/{name}")
            for name in LEFT_OUT:
                archive.writestr(f"root/{name}", "")
        return Zip(zipfile.ZipFile(tmp_path / "files.zip"), "root/")
    other = tmp_path / "other"
    if request.param == "joined":
        text(other / "c.txt", "c.txt")
        (folder / "c.txt").unlink()
        return Joined([Folder(folder), Folder(other)])
    shutil.move(folder / "a", other)
    return Joined([Folder(folder), Mounted("a", Folder(other))])


def test_every_kind_of_files_reads_the_same(files):
    assert files.names() == NAMES
    assert files.names("a") == NAMES[:2]
    assert files.names("a/b") == NAMES[1:2]
    assert files.names("nowhere") == []
    assert [files.read(name) for name in NAMES] == [f"{n}\n".encode() for n in NAMES]
    assert files.missing(["a/9.txt", *NAMES]) == ["a/9.txt"]
    with pytest.raises(InputError, match=r"9\.txt: "):
        files.read("a/9.txt")


def test_a_stamp_changes_with_the_files_that_it_names(folder):
    files = Folder(folder)
    one, all_three = files.stamp(["c.txt"]), files.stamp(NAMES)
    assert one != all_three
    text(folder / "a" / "1.txt", "longer than before")
    assert files.stamp(["c.txt"]) == one
    assert files.stamp(NAMES) != all_three


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_the_other_unicode_form(tmp_path, forms):
    there, asked = (unicodedata.normalize(form, "Süd/Möwe.wav") for form in forms)
    text(tmp_path / there, "sound")
    files = Folder(tmp_path)
    assert files.read(asked) == files.read(there) == b"sound\n"
    assert files.missing([asked, "Süd/Mowe.wav"]) == ["Süd/Mowe.wav"]
    before = files.stamp([asked])
    assert before != files.stamp(["Süd/Mowe.wav"])
    text(tmp_path / there, "another sound")
    assert files.stamp([asked]) != before


def test_missing_files_are_counted_and_the_first_is_named(folder):
    files = Folder(folder)
    files.check_complete(NAMES, "it")
    with pytest.raises(
        InputError, match=r"it: 2 of its 4 files .* is .*8\.txt; on_bad"
    ):
        files.check_complete(["8.txt", "9.txt", *NAMES[:2]], "it")


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("root/a.bin", bytes(range(256)) * 100)
        start = archive.getinfo("root/a.bin").header_offset
    data = bytearray(path.read_bytes())
    data[start + 100 : start + 200] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"root/a\.bin: cannot be unpacked"):
        Zip(zipfile.ZipFile(path), "root/").read("a.bin")
