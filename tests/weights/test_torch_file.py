"""The torch-free reader: exact values, and hostile or broken files."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from tests import golden
from tests.weights.torch_files import START, STOP, Build, Call, Global, torch_zip
from unmute_jax.errors import InputError
from unmute_jax.weights.inert import InertObject, lookup
from unmute_jax.weights.torch_file import read_torch


def found(pattern):
    files = sorted(golden.TORCH_FILES.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no {pattern} in {golden.TORCH_FILES}")
    return [pytest.param(file, id=file.name) for file in files]


GOOD, HOSTILE = found("sample_*.pt"), found("malicious_*.pt")


@pytest.fixture(scope="module")
def values():
    return golden.read(golden.TORCH_FILES / "expected.npz")


@pytest.fixture(scope="module")
def facts():
    return json.loads((golden.TORCH_FILES / "expected.json").read_text("utf-8"))


@pytest.mark.parametrize("file", GOOD)
def test_every_tensor_is_exact(file, values, facts):
    model = read_torch(file)["model"]
    assert list(model) == facts["model_key_order"]
    for name, got in model.items():
        want = values[f"model/{name}"]
        bits = values.get(f"model/{name}__bf16_bits")
        assert got.shape == want.shape
        if bits is not None:
            assert got.dtype.name == "bfloat16"
            np.testing.assert_array_equal(got.view(np.uint16), bits)
        else:
            assert got.dtype == want.dtype
            assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("file", GOOD)
def test_views_keep_their_strides_and_share_their_storage(file, facts):
    model = read_torch(file)["model"]
    for name, strides in facts["strides_in_file"].items():
        if model[name].size:
            want = [step * model[name].itemsize for step in strides]
            assert list(model[name].strides) == want, name
    for first, *others in facts["shares_storage"]:
        for other in others:
            assert np.shares_memory(model[first], model[other])
    assert not np.shares_memory(model["base"], model["strided"])


@pytest.mark.parametrize("file", GOOD)
def test_everything_else_is_plain_data(file, values, facts):
    content = read_torch(file)
    args = content["args"].state
    assert {**args, "betas": list(args["betas"])} == facts["args"]
    assert content["args"].name == "argparse.Namespace"
    assert isinstance(content["cfg"], InertObject)
    for path in (("model", "embed_dim"), ("task", "target_length")):
        want = facts["cfg_content"][path[0]][path[1]]
        assert lookup(content["cfg"], *path) == want
    for name in ("epoch", "best", "history", "unicode"):
        assert content[name] == facts[name]
    assert content["size"] == (2, 3)
    assert content["dtype"] == "float16"
    assert content["device"] == ("cuda:0" if "cuda" in file.name else "cpu")
    assert content["bytes"] == b"\x00\x01\xff"
    np.testing.assert_array_equal(content["numpy_array"], values["numpy_array"])
    for i, found in enumerate(content["tuple_of_tensors"]):
        np.testing.assert_array_equal(found, values[f"tuple/{i}"])


@pytest.mark.parametrize("file", HOSTILE)
def test_hostile_files_are_refused_and_run_nothing(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"asks to run \w+\.\w+") as caught:
        read_torch(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", GOOD)
def test_a_file_cut_anywhere_is_refused_in_one_line(file, tmp_path):
    content = file.read_bytes()
    cut = tmp_path / "cut.pt"
    for size in range(0, len(content) - 1, 301):
        cut.write_bytes(content[:size])
        with pytest.raises(InputError) as caught:
            read_torch(cut)
        assert "\n" not in str(caught.value)
        assert str(cut) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"hello there", "is no file of torch.save"),
        (pickle.dumps([1, 2]), "is a pickle, but not one of torch.save"),
    ],
)
def test_other_files_are_told_apart(content, message, tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_torch(file)


def test_zip_files_without_weights_are_told_apart(tmp_path):
    file = tmp_path / "weights.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"not one of torch\.save"):
        read_torch(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    with pytest.raises(InputError, match="compressed"):
        read_torch(file)
    with pytest.raises(InputError, match="No such file"):
        read_torch(tmp_path / "missing.pt")


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "builtins.getattr", "__builtin__.exec"]
)
def test_names_that_act_refuse_the_file(name, tmp_path):
    module, _, attribute = name.rpartition(".")
    file = torch_zip(tmp_path / "weights.pt", [Global(module, attribute)])
    with pytest.raises(InputError, match=f"asks to run .*{attribute}"):
        read_torch(file)


def test_calls_of_unknown_names_are_kept_not_made(tmp_path):
    call = Call(Global("some.package", "make"), 1, "two")
    content = read_torch(torch_zip(tmp_path / "weights.pt", {"x": call}))
    assert content["x"].name == "some.package.make"
    assert content["x"].args == (1, "two")


@pytest.mark.parametrize(
    "name",
    [
        "torch._utils._rebuild_tensor_v2",
        "torch.FloatStorage",
        "torch.float16",
        "collections.OrderedDict",
        "argparse.Namespace",
        "some.package.Thing",
    ],
)
@pytest.mark.parametrize("state", [{"function": 1}, (None, {"function": 1}), ["x"]])
def test_a_file_cannot_change_its_reader(name, state, tmp_path):
    module, _, attribute = name.rpartition(".")
    content = [Build(Global(module, attribute), state)]
    file = torch_zip(tmp_path / "weights.pt", content)
    with pytest.raises(InputError):
        read_torch(file)
    for good in GOOD:
        assert list(read_torch(*good.values)["model"])


def test_attributes_set_on_a_state_dict_are_dropped(tmp_path):
    empty = Call(Global("collections", "OrderedDict"))
    file = torch_zip(tmp_path / "weights.pt", Build(empty, {"items": "no method"}))
    assert list(read_torch(file).items()) == []


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
        archive.writestr("archive/data.pkl", START + b"]" * (20 * (1 << 20)))
    refused(file, "compressed or encrypted parts")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x1f\x8b\x08" + bytes(40), "compressed with gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
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
