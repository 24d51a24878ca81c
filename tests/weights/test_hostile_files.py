"""Files made to run code, to fill the memory, or to keep the reader busy for ever."""

import contextlib
import json
import os
import pickle
import resource
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.weights.torch_files import (
    Build,
    Call,
    Global,
    Pickler,
    tensor,
    torch_pickle,
    torch_zip,
)
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.weights import torch_file, unpickle
from unmute_jax.weights.files import read_weights

START, STOP, MEMO, AGAIN = b"\x80\x02", b".", b"q\x00", b"h\x00"
MEGABYTES = 1 << 20


def peak_megabytes():
    """The most memory that this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def refused(tmp_path):
    """Checks that a file is refused in one short line, soon, and in little memory."""

    def check(file, match, *, load=read_weights):
        begin, peak = time.process_time(), peak_megabytes()
        with pytest.raises(InputError, match=match) as caught:
            load(file)
        assert time.process_time() - begin < 20
        assert peak_megabytes() - peak < 300
        message = str(caught.value)
        assert str(file) in message
        assert message.isprintable()
        assert len(message) < 1500
        assert not (tmp_path / "PWNED").exists()

    return check


def pickled(tmp_path, body):
    return torch_pickle(tmp_path / "weights.pt", START + body + STOP)


def spoken(name):
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


SHELL = b"X\x0b\x00\x00\x00touch PWNED"
HIDDEN = {
    "GLOBAL and REDUCE": b"cos\nsystem\n(" + SHELL + b"tR",
    "STACK_GLOBAL": b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93(" + SHELL + b"tR",
    "INST": b"(" + SHELL + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + SHELL + b"o",
    "NEWOBJ": b"cposix\nsystem\n(" + SHELL + b"t\x81",
    "BUILD": b"ccollections\nOrderedDict\n)Rcbuiltins\nexec\nb",
    "numpy": b"cnumpy.testing._private.utils\nrunstring\n("
    + SHELL
    + b"}tR0cos\nsystem\n",
    "a dotted name": b"\x8c\x02os\x8c\x0bpath.system\x93(" + SHELL + b"tR",
    "the old builtins": b"c__builtin__\neval\n(" + SHELL + b"tR",
    "a persistent id": b"cos\nsystem\nQ",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_code_is_refused_wherever_it_hides(how, tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(pickled(tmp_path, HIDDEN[how]), "asks to run .*: refused")


@pytest.mark.parametrize(
    "body",
    [
        b"\x82\x01",  # a name from a registry of the process
        b"\x83\x01\x00",
        b"\x84\x01\x00\x00\x00",
        b"\x97",  # a buffer from elsewhere
        b"\x96" + struct.pack("<Q", 4) + b"abcd",
    ],
)
def test_what_torch_never_writes_is_refused(body, tmp_path, refused):
    refused(pickled(tmp_path, body), "as torch.save never does")


# Files that grow ---------------------------------------------------------------


def test_deep_nesting_is_read_and_let_go(tmp_path, refused):
    depth = 50_000
    content = read_weights(pickled(tmp_path, b"]" * depth + b"a" * (depth - 1))).content
    levels = 0
    while content:
        (content,) = content
        levels += 1
    assert levels == depth - 1
    nest = b"}X\x05\x00\x00\x00model" + b"]" * depth + b"a" * (depth - 1) + b"s"
    refused(
        pickled(tmp_path, nest),
        "holds no weights",
        load=lambda file: load_encoder("eat", file),
    )
    nest = b"}X\x05\x00\x00\x00model}X\x01\x00\x00\x00x)" + b"\x85" * depth + b"ss"
    refused(
        pickled(tmp_path, nest),
        "tensor .* is missing",
        load=lambda file: load_encoder("eat", file),
    )


def laughs(levels):
    """A tuple of two tuples of two tuples ... whose hash and text take 2^levels."""
    return b"X\x01\x00\x00\x00x" + b"2\x86" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"}" + laughs(60) + b"Ns",
        b"}(" + laughs(60) + b"Nu",
        b"(" + laughs(60) + b"Nd",
        b"\x8f(" + laughs(60) + b"\x90",
        b"(" + laughs(60) + b"\x91",
        spoken("collections.OrderedDict") + b"](" + laughs(60) + b"N\x86e\x85R",
        b"}\x8a\x0f" + b"\x01" * 15 + b"Ns",
    ],
)
def test_keys_that_take_for_ever_are_refused(body, tmp_path, refused):
    refused(pickled(tmp_path, body), "keys that no weights need")


@pytest.mark.parametrize("place", ["x", "_ema", "head.weight"])
def test_values_whose_text_takes_for_ever_are_refused(place, tmp_path, refused):
    name = f"X{chr(len(place))}\0\0\0{place}".encode()
    for body in (b"}" + name + laughs(60) + b"s", name + laughs(60) + b"\x86"):
        nested = b"}X\x05\x00\x00\x00model" + body + b"s"
        refused(
            pickled(tmp_path, nested),
            r"\.pt",
            load=lambda file: load_encoder("eat", file),
        )
        refused(
            pickled(tmp_path, body),
            r"\.pt",
            load=lambda file: load_encoder("eat", file),
        )


@pytest.mark.parametrize(
    "again",
    [
        # The same megabyte, as bytes; in a torch.Size; in a dict; as arguments.
        spoken("_codecs.encode") + AGAIN + b"\x85R0",
        spoken("torch.Size") + AGAIN + b"\x85R0",
        spoken("some.Thing") + AGAIN + b"R0",
        b"(" + spoken("some.Thing") + AGAIN + b"o0",
        spoken("some.Thing") + AGAIN + b"\x810",
    ],
)
def test_repeated_copies_are_refused(again, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_COPIES", 50 * MEGABYTES)
    long = b"x" * MEGABYTES
    made = {
        b"_codecs.encode": b"X" + struct.pack("<I", len(long)) + long,
        b"torch.Size": b"](" + b"K\x01" * (MEGABYTES // 8) + b"e",
    }
    kind = b"_codecs.encode" if b"_codecs" in again else b"torch.Size"
    held = made[kind] if b"some" not in again else b"(" + b"N" * (MEGABYTES // 8) + b"t"
    refused(pickled(tmp_path, held + MEMO + again * 400), "copies the same again")


def test_too_many_objects_classes_and_bytes_are_refused(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_STEPS", 50_000)
    refused(pickled(tmp_path, b"\x8f" * 50_001), "more than 50000 objects")
    names = b"".join(spoken(f"a.b{i}") for i in range(1001))
    refused(pickled(tmp_path, names), "more than 1000 classes")
    monkeypatch.setattr(torch_file, "MAX_BYTES", 1000)
    refused(pickled(tmp_path, b"N0" * 600), "a pickle of 1203 bytes")


def test_numbers_that_claim_room_get_none(tmp_path, refused):
    for code, size in ((b"\x8e", "<Q"), (b"\x8d", "<Q"), (b"B", "<I"), (b"T", "<i")):
        huge = struct.pack(size, 2**31 - 1 if size != "<Q" else 2**40)
        refused(pickled(tmp_path, code + huge + b"abc"), "truncated or damaged")
    refused(pickled(tmp_path, b"Np99999999999999\n"), "numbers its objects oddly")
    # Only frames do not matter: they are no more than a hint.
    framed = b"\x95" + struct.pack("<Q", 2**62) + b"}"
    assert read_weights(pickled(tmp_path, framed)).content == {}


@pytest.mark.parametrize(
    ("size", "stride"),
    [
        ((1 << 20, 1 << 20), (0, 0)),
        ((1 << 62,), (0,)),
        ((1 << 31, 1 << 31, 4), (0, 0, 1)),
        ((4,), (1 << 62,)),
        ((1 << 70,), (1,)),
        ((2,) * 70, (0,) * 70),
        ((4,), (1, 1)),
        ((True,), (1,)),
        ((1.5,), (1,)),
        (("4",), (1,)),
        (4, 1),
        ((0, 1 << 63), (1, 1)),
    ],
)
def test_absurd_shapes_are_refused(size, stride, tmp_path, refused):
    file = torch_zip(tmp_path / "weights.pt", [tensor(0, size, stride)], bytes(16))
    refused(file, "tensor|damaged")


def test_small_views_of_the_same_bytes_do_not_add_up(tmp_path, refused):
    views = [tensor(0, (1000, 1000), (0, 0)) for _ in range(30)]
    file = torch_zip(tmp_path / "weights.pt", views, bytes(16))
    refused(file, "tensors of .* bytes in .* bytes of file")


def test_a_pickle_changes_nothing_but_its_own_lists(tmp_path, refused):
    four = np.arange(4, dtype=np.float32).tobytes()

    def write(item):
        return torch_zip(tmp_path / "weights.pt", [item], four)

    state = (1, (3,), "f4", False, b"abcd")
    whole = tensor(0, (4,), (1,))
    refused(write(Build(whole, state)), "tries to change what reads it")
    refused(write(Build([], {"append": print.__name__})), "tries to change")
    refused(write(Call(whole, 1)), "calls what is no function")
    refused(write(Call("text", 1)), "calls what is no function")
    for code in (b"NNs", b"(NNu", b"Na", b"(Ne", b"(N\x90"):
        body = b"]0" + b"X\x01\x00\x00\x00x" + code
        refused(pickled(tmp_path, body), "adds to what is no collection")


# Files that lie ------------------------------------------------------------------


def test_overlapping_and_doubled_parts_of_a_zip_are_refused(tmp_path, refused):
    file = tmp_path / "weights.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", START + b"}" + STOP)
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/data/1", bytes(64))
        listed = archive.infolist()
        listed[2].header_offset = listed[1].header_offset + 8
    refused(file, "overlaps the next")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", START + b"}" + STOP)
        archive.writestr("archive/other.pk", START + b"]" + STOP)
    file.write_bytes(file.read_bytes().replace(b"other.pk", b"data.pkl"))
    refused(file, "two of its parts have the same name")


def test_a_zip_of_too_many_parts_is_refused(tmp_path, refused):
    file, count = tmp_path / "weights.pt", 200_000
    entry = b"PK\x01\x02" + bytes(42)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFF, 0xFFF, count * 46, 4, 0)
    file.write_bytes(b"PK\x03\x04" + entry * count + end)
    refused(file, "too many parts")


def test_zip_bombs_are_not_unpacked(tmp_path, refused):
    file = tmp_path / "weights.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", START + b"]" * (20 * MEGABYTES))
    refused(file, "compressed or encrypted parts")


def test_names_of_a_file_cannot_break_the_line(tmp_path, refused):
    name = "evil\n\x1b[31m\r" + "x" * 5000
    content = {"model": {name: tensor(0, (4,), (1,))}}
    file = torch_zip(tmp_path / "weights.pt", content, bytes(16))
    refused(file, "evil", load=lambda file: load_encoder("eat", file))
    file = torch_zip(tmp_path / "weights.pt", {name: 1})
    refused(file, "holds no weights", load=lambda file: load_encoder("eat", file))
    file.write_bytes(b"")
    safetensors.numpy.save_file({name: np.zeros(3)}, tmp_path / "x.safetensors")
    refused(
        tmp_path / "x.safetensors", "evil", load=lambda file: load_encoder("eat", file)
    )


def header(tmp_path, about, data=b"", length=None):
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    file = tmp_path / "x.safetensors"
    file.write_bytes(size + text + data)
    return file


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "about",
    [
        {"x": entry(0, 16, [4]), "y": entry(8, 24, [4])},
        {"x": entry(0, 8, [2]), "y": entry(16, 24, [2])},
        {"x": entry(0, 24, [7])},
        {"x": entry(0, 24, [1 << 62, 1 << 62])},
        {"x": entry(0, 24, [-6])},
        {"x": entry(24, 0, [6])},
        {"x": entry(0, 24, [6], "OBJECT")},
        {"x": entry(0, 24, [3], "C64")},
        {"x": entry(0, 24, "six")},
        {"x": 1},
        {"__metadata__": {"a": 1}, "x": entry(0, 24, [6])},
        [1, 2],
        b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
        b"{\xff}",
        b"",
    ],
)
def test_headers_that_lie_are_refused(about, tmp_path, refused):
    refused(header(tmp_path, about, bytes(24)), "no safetensors file|not supported")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**8, 2**24 + 1, 3, 0])
def test_headers_of_any_length_take_no_room(length, tmp_path, refused):
    file = header(tmp_path, b"{" + b" " * 30, length=length)
    refused(file, "no safetensors file")


@pytest.mark.parametrize(
    "config", [b"[" * 100_000, b"{" + b" " * (1 << 21), b"3", b"\xff"]
)
def test_a_hostile_config_is_refused(config, tmp_path):
    safetensors.numpy.save_file({"x": np.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(InputError, match=r"config\.json is no JSON object"):
        read_weights(tmp_path)


def test_what_is_no_regular_file_is_refused(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "there is no weights file")
    (tmp_path / "folder.pt").mkdir()
    refused(tmp_path / "folder.pt", "there is no weights file")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x1f\x8b\x08" + bytes(40), "compressed with gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (b"  <html>", "web page"),
        (b"RIFF....WAVEfmt ", r"no file of torch\.save"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), r"no file of torch\.save"),
        (b"PK\x05\x06" + bytes(18), r"no file of torch\.save"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "truncated or damaged"),
    ],
)
def test_files_of_other_kinds_are_told_apart(content, match, tmp_path, refused):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    refused(file, match)


# Files that are spoilt -------------------------------------------------------------

SPOILT = [
    *sorted(golden.TORCH_FILES.glob("*.pt")),
    golden.ENCODERS / "eat_tiny_ft_hf.safetensors",
]


@pytest.mark.parametrize("file", SPOILT, ids=lambda file: file.name)
def test_spoilt_files_give_a_value_or_one_line(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    whole = np.frombuffer(file.read_bytes(), np.uint8)[:12_000]
    # Most of a file are numbers: what tells of them is hit more often.
    weights = np.where(whole == 0, 1.0, 5.0)
    for kind in range(150):
        content = whole.copy()
        places = rng.choice(len(content), rng.integers(1, 9), p=weights / weights.sum())
        content[places] = rng.integers(0, 256, len(places), dtype=np.uint8)
        if kind % 3 == 0:
            cut = rng.integers(len(content))
            content = np.concatenate([content[:cut], content[cut + kind % 7 :]])
        spoilt = tmp_path / f"spoilt{file.suffix}"
        spoilt.write_bytes(content.tobytes())
        with contextlib.suppress(InputError):
            read_weights(spoilt)
    assert [found.name for found in tmp_path.iterdir()] == [spoilt.name]


def test_pickler_of_these_tests_writes_what_it_should(tmp_path):
    """Otherwise the tests above would refuse anything."""
    content = {
        "x": tensor(1, (3,), (1,)),
        "y": [Global("a", "b"), Call(Global("c", "d"))],
    }
    file = torch_zip(tmp_path / "weights.pt", content, bytes(16))
    assert issubclass(Pickler, pickle._Pickler)
    found = read_weights(file).content
    assert found["x"].tolist() == [0, 0, 0]
    assert found["y"][1].name == "c.d"
