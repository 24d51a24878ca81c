"""Pickles made to run code, to fill the memory, or to keep the reader busy for ever."""

import io
import pickle
import pickletools
import struct

import numpy as np
import pytest

from tests.weights.torch_files import (
    Build,
    Call,
    Global,
    Pickler,
    global_opcode,
    pickled,
    tensor,
    torch_zip,
)
from unmute_jax.encoders import load_encoder
from unmute_jax.weights import torch_file, unpickle
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.inert import InertObject

MEMO, AGAIN = b"q\x00", b"h\x00"
SIZE = 100_000


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
def test_opcodes_that_torch_never_writes_are_refused(body, tmp_path, refused):
    refused(pickled(tmp_path, body), "as torch.save never does")


def test_deep_nesting_is_read_and_freed(tmp_path, refused):
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
        global_opcode("collections.OrderedDict") + b"](" + laughs(60) + b"N\x86e\x85R",
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
        # The same 100 kB, as bytes; in a torch.Size; in a dict; as arguments.
        global_opcode("_codecs.encode") + AGAIN + b"\x85R0",
        global_opcode("torch.Size") + AGAIN + b"\x85R0",
        global_opcode("some.Thing") + AGAIN + b"R0",
        b"(" + global_opcode("some.Thing") + AGAIN + b"o0",
        global_opcode("some.Thing") + AGAIN + b"\x810",
    ],
)
def test_repeated_copies_are_refused(again, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_COPIES", 50 * SIZE)
    long = b"x" * SIZE
    made = {
        b"_codecs.encode": b"X" + struct.pack("<I", len(long)) + long,
        b"torch.Size": b"](" + b"K\x01" * (SIZE // 8) + b"e",
    }
    kind = b"_codecs.encode" if b"_codecs" in again else b"torch.Size"
    held = made[kind] if b"some" not in again else b"(" + b"N" * (SIZE // 8) + b"t"
    refused(pickled(tmp_path, held + MEMO + again * 400), "copies the same again")


def test_too_many_objects_classes_and_bytes_are_refused(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_STEPS", 5000)
    monkeypatch.setattr(unpickle, "MAX_CLASSES", 100)
    refused(pickled(tmp_path, b"\x8f" * 5001), "more than 5000 objects")
    names = b"".join(global_opcode(f"a.b{i}") for i in range(101))
    refused(pickled(tmp_path, names), "more than 100 classes")
    monkeypatch.setattr(torch_file, "MAX_BYTES", 1000)
    refused(pickled(tmp_path, b"N0" * 600), "a pickle of 1203 bytes")


def test_announced_sizes_reserve_no_memory(tmp_path, refused):
    for code, size in ((b"\x8e", "<Q"), (b"\x8d", "<Q"), (b"B", "<I"), (b"T", "<i")):
        huge = struct.pack(size, 2**31 - 1 if size != "<Q" else 2**40)
        refused(pickled(tmp_path, code + huge + b"abc"), "truncated or damaged")
    refused(pickled(tmp_path, b"Np99999999999999\n"), "numbers its objects oddly")
    # Frames do not matter: they only say how much to read at once.
    framed = b"\x95" + struct.pack("<Q", 2**62) + b"}"
    assert read_weights(pickled(tmp_path, framed)).content == {}


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


def test_memo_entries_are_numbered_in_order(tmp_path, refused):
    """Otherwise the C unpickler reserves 8 bytes for every number below."""
    for put in (b"r\xff\xff\xff\x7f", b"p2000000000\n", b"p-1\n"):
        refused(pickled(tmp_path, b"N" + put), "numbers its objects oddly|damaged")


def test_deeply_nested_objects_are_freed(tmp_path):
    made = global_opcode("some.Thing") + MEMO + b")\x81"
    nest = made + (AGAIN + b")\x81") * 10_000 + b"b" * 10_000
    content, depth = read_weights(pickled(tmp_path, nest)).content, 0
    while content is not None:
        content, depth = content.state, depth + 1
    assert depth == 10_001
    # The same, let go of in one piece.
    assert read_weights(tmp_path / "weights.pt").content.name == "some.Thing"


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol_is_read(protocol):
    """The walk over the opcodes follows what Python itself writes."""
    shared = ("a", 1.5, None, True)
    data = {
        "list": [1, -1, 2**40, 2**100, [], [[]]],
        "tuple": (shared, shared, (), ("x",), tuple(range(40))),
        "dict": {1: "x", ("a", "b"): {}, None: 2.5, b"bytes": "ü" * 300, 2.5: shared},
        "text": ["", "\u20ac", "line\nbreak", b"\xff" * 300],
    }
    if protocol >= 4:
        data["sets"] = [{1, "x"}, set(), frozenset({"y", 3})]
    body = pickle.dumps(data, protocol)
    assert unpickle.unpickle(io.BytesIO(body), lambda pid: None, len(body)) == data
    # The same with the other way of writing the memo.
    body = pickletools.optimize(body)
    assert unpickle.unpickle(io.BytesIO(body), lambda pid: None, len(body)) == data


def test_several_pickles_follow_each_other():
    stream = io.BytesIO(b"".join(pickle.dumps(n, 4) for n in ("a", "b")) + b"rest")
    values = [unpickle.unpickle(stream, lambda pid: None, 9) for _ in range(2)]
    assert values == ["a", "b"]
    assert stream.read() == b"rest"


@pytest.mark.parametrize(
    "key",
    [
        global_opcode("some.Thing") + b"(K\x01tR",
        global_opcode("some.Thing") + b")\x81",
        global_opcode("some.Thing"),
        global_opcode("torch.float32"),
        global_opcode("numpy.core.multiarray.scalar")
        + global_opcode("numpy.dtype")
        + b"X\x02\x00\x00\x00i8\x85RC\x08"
        + bytes(8)
        + b"\x86R",
    ],
)
def test_objects_and_numpy_numbers_are_keys(key, tmp_path):
    assert len(read_weights(pickled(tmp_path, b"}" + key + b"Ns")).content) == 1


@pytest.mark.parametrize(
    "key",
    [
        # Tuples and complex numbers can be chosen so that their hashes collide.
        b"K\x01K\x02\x86",
        global_opcode("torch.Size") + b"(K\x01K\x02t\x85R",
        b"X\x01\x00\x01\x00" + b"x" * 65537,
        b"]",
    ],
)
def test_other_keys_are_refused(key, tmp_path, refused):
    refused(pickled(tmp_path, b"}" + key + b"Ns"), "keys that no weights need")


def test_no_complex_number_is_a_key(tmp_path, refused):
    dtype = global_opcode("numpy.dtype") + b"X\x02\x00\x00\x00c8\x85R"
    scalar = global_opcode("numpy.core.multiarray.scalar")
    body = b"}" + scalar + dtype + b"C\x08" + bytes(8) + b"\x86RNs"
    refused(pickled(tmp_path, body), "a complex number outside a tensor")


def test_what_a_parameter_is_made_of_stays_as_it_is(tmp_path, refused):
    """A call may give back its argument, but never a function or class."""
    rebuild = Global("torch._utils", "_rebuild_parameter")
    inner = Call(rebuild, Global("torch.nn", "Thing"), True, None)
    file = torch_zip(tmp_path / "weights.pt", Build(inner, {"x": 1}), bytes(16))
    refused(file, "made in an unknown way")
    rebuild = Global("torch._tensor", "_rebuild_from_type_v2")
    inner = Call(rebuild, Global("torch.nn", "Thing"), Global("a", "B"), (1,), {})
    refused(torch_zip(file, inner, bytes(16)), "made in an unknown way")


def test_classes_of_a_file_end_with_it(tmp_path):
    first, second = (
        read_weights(pickled(tmp_path, global_opcode("some.Thing") + b")R")).content
        for _ in range(2)
    )
    assert type(first) is not type(second)
    assert isinstance(first, InertObject)
    assert (first.name, first.args) == ("some.Thing", ())


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
