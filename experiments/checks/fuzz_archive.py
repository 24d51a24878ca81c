"""Damaged tar and zip archives, and archives of WebDataset, for `fuzz`."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import io
import json
import pathlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.checks.audio_files import make_signal, with_libsndfile
from experiments.checks.fuzz_cases import Case, judge
from experiments.checks.mutations import mutate
from unmute_jax.datasets import archives
from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.files import Zip
from unmute_jax.datasets.webdataset import webdataset
from unmute_jax.zips import open_zip

_LABELS = {c: ("ash", "birch")[i % 2] for i, c in enumerate("abcdefghijkl")}
# Names that lead elsewhere, or that systems treat in their own way.
_ODD_NAMES = (
    *(
        "../outside",
        "../../../../outside",
        "/dev/shm/outside_of_all",
        "a/../../outside",
    ),
    *("", ".", "..", "/", "a//b", "a\\..\\b", "C:\\x", "CON", "a\0b", "\ud800", "é\n"),
    *("x" * 300, "d/" * 3000 + "f", "a.wav/inside", "~/outside", "-rf", " ", "A.WAV"),
)
_TYPES = (
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE),
    *(tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"Z"),
)
_SIZES = (0, 1, 511, 513, 10**6, 8**11 - 1, 2**40, 2**63, -1)


@functools.cache
def originals() -> dict[str, bytes]:
    """Returns each kind of archive before it is damaged."""
    files = _files()
    plain = _tar(_members(files))
    return {
        "tar": plain,
        "tar.gz": gzip.compress(plain, mtime=0),
        "tar.bz2": bz2.compress(plain),
        "zip": _zip(files),
        "zip, stored": _zip(files, zipfile.ZIP_STORED),
        "WebDataset": plain,
    }


def _files() -> dict[str, bytes]:
    files = dict[str, bytes]()
    for key, label in _LABELS.items():
        x = make_signal(8_000, seconds=0.05) * (ord(key) % 7 + 1) / 8
        files[f"{key}.wav"] = with_libsndfile(x, 8_000, format="WAV", subtype="PCM_16")
        files[f"{key}.json"] = json.dumps({"label": label}).encode()
    return files


Member = tuple[tarfile.TarInfo, bytes]


def _members(files: dict[str, bytes]) -> list[Member]:
    members = []
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        members.append((info, content))
    return members


def _tar(members: list[Member], form: Any = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    for info, content in members:
        buffer.write(info.tobuf(form, "utf-8", "surrogateescape"))
        buffer.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    buffer.write(bytes(2 * tarfile.BLOCKSIZE))
    return buffer.getvalue()


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def prepare() -> None:
    """Reads the undamaged archives."""
    for kind in originals():
        _meaning(kind)


def make(rng: np.random.Generator) -> Case:
    """Makes a damaged archive.

    Args:
        rng: The source of all choices.
    """
    kinds = list(originals())
    at = int(rng.integers(len(kinds)))
    kind = kinds[at]
    is_whole = rng.random() < 0.5
    if is_whole:
        mutation, data = mutate(list(originals().values()), at, rng)
    elif kind.startswith("zip"):
        mutation, data = _changed_zip(kind, rng)
    else:
        mutation, data = _changed_tar(rng)
        pack = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress}
        data = pack.get(kind, bytes)(data)
    # A plain tar archive has checksums of its headers only.
    is_protected = is_whole and kind not in ("tar", "WebDataset")
    name = f"archive.{'zip' if kind.startswith('zip') else 'tar'}"
    name += kind.removeprefix("tar") if kind.startswith("tar.") else ""
    return Case(
        kind=kind,
        mutation=mutation,
        files={name: data},
        may_differ=not is_protected,
    )


def _changed_tar(rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes a member, with a checksum of its header that fits."""
    members = _members(_files())
    at = int(rng.integers(len(members)))
    info, content = members[at]
    form = int(rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    mutation = str(rng.choice(list(_TAR_CHANGES)))
    try:
        members[at] = _TAR_CHANGES[mutation](info, content, rng)
        if mutation == "a member twice":
            members.insert(0, members[at])
        return mutation, _tar(members, form)
    except ValueError:  # The format cannot hold such a number or name.
        info.size, info.mtime, info.name = len(members[at][1]), 0, "name"
        return mutation, _tar(members)


def _pick(values: Any, rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


def _odd_name(info: tarfile.TarInfo, content: bytes, rng: Any) -> Member:
    info.name = _pick(_ODD_NAMES, rng)
    return info, content


def _other_kind(info: tarfile.TarInfo, content: bytes, rng: Any) -> Member:
    info.type = _pick(_TYPES, rng)
    info.linkname = _pick(("/", "..", "a.wav", "../../outside", "x" * 5000), rng)
    if rng.random() < 0.5:
        info.size, content = 0, b""
    return info, content


def _odd_size(info: tarfile.TarInfo, content: bytes, rng: Any) -> Member:
    info.size = _pick(_SIZES, rng)
    return info, content


def _odd_attributes(info: tarfile.TarInfo, content: bytes, rng: Any) -> Member:
    info.mtime = _pick((0, -1, 2**33, 2**62, 1e300), rng)
    info.mode, info.uid = _pick((0, 0o777, 0o4755, 2**20), rng), 2**21
    return info, content


def _odd_records(info: tarfile.TarInfo, content: bytes, rng: Any) -> Member:
    name = _pick(("path", "size", "linkpath", "mtime", "GNU.sparse.map", "x"), rng)
    values = (*_ODD_NAMES[:6], "1e400", "-5", "99999999999", "nan", "y" * 10**6)
    info.pax_headers = {name: _pick(values, rng)}
    return info, content


def _zeros(info: tarfile.TarInfo, _: bytes, rng: Any) -> Member:
    content = bytes(_pick((10**6, 3 * 10**7, 2 * 10**8), rng))
    info.size = len(content)
    return info, content


_TAR_CHANGES: dict[str, Callable[[tarfile.TarInfo, bytes, Any], Member]] = {
    "a member with an odd name": _odd_name,
    "a member of another kind": _other_kind,
    "a member of an odd size": _odd_size,
    "a member with odd attributes": _odd_attributes,
    "a member with odd records": _odd_records,
    "a member of many zeros": _zeros,
    "a member twice": lambda info, content, _: (info, content),
}


def _changed_zip(kind: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes the list of members or a member, with checksums that fit."""
    mutation = str(rng.choice(list(_ZIP_CHANGES)))
    return mutation, _ZIP_CHANGES[mutation](kind, rng)


def _renamed_in_zip(_: str, rng: np.random.Generator) -> bytes:
    files = _files()
    name = _pick(list(files), rng)
    odd = _pick([n for n in _ODD_NAMES if len(n) < 300 and "\ud800" not in n], rng)
    files[odd] = files.pop(name)
    return _zip(files)


def _grown(_: str, rng: np.random.Generator) -> bytes:
    files = _files()
    files[_pick(list(files), rng)] = bytes(_pick((10**6, 2 * 10**8), rng))
    return _zip(files)


def _other_method(_: str, rng: np.random.Generator) -> bytes:
    return _zip(_files(), _pick((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA), rng))


def _field_of_list(kind: str, rng: np.random.Generator) -> bytes:
    """Changes a field of a header of a member or of the list."""
    data = bytearray(originals()[kind])
    signature = _pick((b"PK\1\2", b"PK\3\4", b"PK\5\6"), rng)
    places = [i for i in range(len(data)) if data[i : i + 4] == signature]
    at = _pick(places, rng) + int(rng.integers(4, 30 if signature != b"PK\5\6" else 20))
    value = _pick((0, 1, 8, 9, 12, 14, 99, 0x80, 0xFF), rng)
    data[at : at + 1] = bytes([value])
    return bytes(data)


_ZIP_CHANGES: dict[str, Callable[[str, np.random.Generator], bytes]] = {
    "a member with an odd name": _renamed_in_zip,
    "a member of many zeros": _grown,
    "a member packed in another way": _other_method,
    "a field of the list of members": _field_of_list,
}


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Unpacks an archive, or reads its members.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: See `judge`.
    """
    reader = functools.partial(_reader(kind), folder)
    return judge(folder, reader, _meaning(kind), may_differ)


@functools.cache
def _meaning(kind: str) -> Any:
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "folder")
        name = "archive." + ("zip" if kind.startswith("zip") else "tar")
        Case(kind=kind, mutation="", files={name: originals()[kind]}).write(folder)
        return _reader(kind)(folder)


def _reader(kind: str) -> Callable[[pathlib.Path], Any]:
    if kind == "WebDataset":
        return _read_samples
    return _read_zip if kind.startswith("zip") else _read_tar


def _read_tar(folder: pathlib.Path) -> Any:
    (archive,) = folder.iterdir()
    unpacked = archives.unpack(archive)
    try:
        return {
            path.relative_to(unpacked).as_posix(): path.read_bytes()
            for path in unpacked.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
    finally:
        shutil.rmtree(unpacked)


def _read_zip(folder: pathlib.Path) -> Any:
    with open_zip(folder / "archive.zip") as archive:
        files = Zip(archive, "")
        return {name: files.read(name) for name in files.names()}


def _read_samples(folder: pathlib.Path) -> Any:
    builder = webdataset(str(folder / "archive.tar"))
    # What is special about the archive is said on the terminal.
    with contextlib.redirect_stderr(io.StringIO()):
        splits = builder.entries()
    return {
        "classes": builder.classes,
        "notes": builder.notes,
        "clips": {
            split: [_plain(builder.read_clip(entry)) for entry in entries]
            for split, entries in splits.items()
        },
    }


def _plain(read: tuple[Clip, str]) -> Any:
    clip, digest = read
    return {**vars(clip), "waveform": np.asarray(clip.waveform), "digest": digest}
