"""Damaged and hostile files of encoders for `fuzz`.

The files of the tests are damaged: those of PyTorch in both formats, safetensors,
CTranslate2, and converted ones. Hostile pickles ask for code to run; whether any has is
seen by a folder that it would make.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import pathlib
import pickletools
import tempfile
import zipfile
from typing import Any

import numpy as np

from experiments.checks import mutated_json
from experiments.checks.fuzz_cases import Case, judge
from experiments.checks.mutated_safetensors import change_header, change_tensors
from experiments.checks.mutations import mutate
from unmute_jax.encoders import with_weights
from unmute_jax.encoders.conversion import convert
from unmute_jax.weights import loading
from unmute_jax.weights.files import read_weights

_DATA = pathlib.Path(__file__).parents[2] / "tests" / "data"
# Kind -> encoder, its number of heads where the file lacks it, and the file.
_FILES = {
    "PyTorch, dasheng": ("dasheng", None, "encoders/dasheng_tiny.pt"),
    "PyTorch, beats": ("beats", None, "encoders/beats_ft_tiny.pt"),
    "PyTorch, eat": ("eat", 4, "encoders/eat_tiny_ft.pt"),
    "PyTorch, whisper": ("whisper", None, "encoders_more/whisper_tiny.pt"),
    "safetensors, eat": ("eat", 4, "encoders/eat_tiny_ft_hf.safetensors"),
    "CTranslate2, whisper": ("whisper", None, "encoders_more/whisper_tiny_ct2.bin"),
}
_CONVERTED = "converted, eat"
# Programs of a pickle that would make a folder, and others that exhaust their reader.
_HOSTILE = (
    b"cos\nmkdir\n(S'outside'\ntR",
    b"cposix\nmkdir\n(S'outside'\ntR",
    b'cbuiltins\neval\n(S\'__import__("os").mkdir("outside")\'\ntR',
    b"cbuiltins\ngetattr\n(cos\nmkdir\nS'__call__'\ntR",
    b"cnumpy\nload\n(S'outside'\ntR",
    b"csubprocess\nPopen\n(S'mkdir outside'\ntR",
    b"(" * 10_000,
    b"]" * 100_000 + b"a" * 99_999,
    b"X\xff\xff\xff\x7f",
    b"\x8e" + b"\xff" * 8,
    b"I" + b"9" * 100_000 + b"\n",
    b"q\x00" + b"h\x00\x86q\x00" * 100,
    b"}" + b"(K\x00K\x01u" * 1000,
)


@functools.cache
def originals() -> dict[str, dict[str, bytes]]:
    """Returns the files of each kind before they are damaged, by their names."""
    found = {}
    for kind, (_, _, name) in _FILES.items():
        path = _DATA / name
        found[kind] = {path.name: path.read_bytes()}
        config = path.with_name(f"{path.stem}_config.json")
        if config.exists():
            found[kind]["config.json"] = config.read_bytes()
    encoder, heads, name = _FILES["PyTorch, eat"]
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "converted.safetensors")
        convert(with_weights(encoder), _DATA / name, output, heads)
        found[_CONVERTED] = {output.name: output.read_bytes()}
    return found


def prepare() -> None:
    """Reads the undamaged files."""
    for kind in originals():
        _meaning(kind)


def make(rng: np.random.Generator) -> Case:
    """Makes a damaged file.

    Args:
        rng: The source of all choices.
    """
    kinds = list(originals())
    kind = kinds[int(rng.integers(len(kinds)))]
    files = dict(originals()[kind])
    name = next(iter(files))
    others = [files[name], *(next(iter(x.values())) for x in originals().values())]
    is_sealed = rng.random() < 0.5
    if "config.json" in files and rng.random() < 0.2:
        mutation, config = mutated_json.change(json.loads(files["config.json"]), rng)
        files["config.json"] = mutated_json.encode(config)
        mutation = f"config: {mutation}"
    elif rng.random() < 0.4:
        mutation, files[name] = mutate(others, 0, rng)
        is_sealed = False
    elif kind == "CTranslate2, whisper":
        # All names and sizes stand before the numbers.
        mutation, start = mutate([files[name][:2000]], 0, rng)
        mutation = f"names and sizes: {mutation}"
        files[name] = start + files[name][2000:]
    elif kind.startswith("PyTorch"):
        mutation, files[name] = _other_pickle(files[name], rng)
    elif rng.random() < 0.5:
        mutation, files[name] = change_header(files[name], rng)
        is_sealed = False
    else:
        mutation, files[name] = change_tensors(files[name], rng, sealed=is_sealed)
    # Only converted files have a digest.
    return Case(
        kind=kind,
        mutation=mutation,
        files=files,
        may_differ=is_sealed or kind != _CONVERTED,
    )


def _other_pickle(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes the pickle in a file of PyTorch, with checksums that fit."""
    if not data.startswith(b"PK"):
        mutation, start = mutate([data[:5000]], 0, rng)
        return f"pickle: {mutation}", start + data[5000:]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(n for n in members if n.endswith("data.pkl"))
    program = members[name]
    if rng.random() < 0.3:
        mutation = "a hostile pickle"
        attack = _HOSTILE[int(rng.integers(len(_HOSTILE)))]
        if rng.random() < 0.5:
            members[name] = b"\x80\x02" + attack + b"."
        else:
            at = _place_of_opcode(program, rng)
            members[name] = program[:at] + attack + program[at:]
    elif rng.random() < 0.2:
        storages = [n for n in members if "/data/" in n]
        mutation = "a storage left out"
        del members[str(rng.choice(storages))]
    else:
        mutation, members[name] = mutate([program], 0, rng)
        mutation = f"pickle: {mutation}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return mutation, buffer.getvalue()


def _place_of_opcode(program: bytes, rng: np.random.Generator) -> int:
    """Chooses a place between two operations, which a pickler may not have meant."""
    places = [at for _, _, at in pickletools.genops(program) if at is not None]
    return int(rng.choice(places[1:]))


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Reads the weights of an encoder.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: See `judge`.
    """
    original = _meaning(kind)
    # Where the folder of a hostile pickle would be seen.
    with contextlib.chdir(folder.parent):
        return judge(folder, lambda: _read(folder, kind), original, may_differ)


@functools.cache
def _meaning(kind: str) -> Any:
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "folder")
        Case(kind=kind, mutation="none", files=originals()[kind]).write(folder)
        return _read(folder, kind)


def _read(folder: pathlib.Path, kind: str) -> Any:
    encoder, heads, _ = _FILES["PyTorch, eat" if kind == _CONVERTED else kind]
    name = next(iter(originals()[kind]))
    weights = loading.from_file(
        with_weights(encoder).ORIGIN, read_weights(folder / name), heads
    )
    return {
        "sizes": vars(weights.sizes),
        "heads": weights.num_heads,
        "classes": weights.classes,
        "parameters": {
            ".".join(path): np.array(array, np.float32)
            for path, array in weights.leaves()
        },
    }
