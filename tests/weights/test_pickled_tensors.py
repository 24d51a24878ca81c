"""Tensors and arrays in a pickle: their shapes, their types and their memory."""

import io

import numpy as np
import pytest

from tests.weights.torch_files import (
    Build,
    Call,
    Global,
    Pickler,
    tensor,
    torch_pickle,
    torch_zip,
)
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch


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


def parameter(data):
    return Call(Global("torch._utils", "_rebuild_parameter"), data, True, None)


def test_parameters_are_their_tensors(tmp_path):
    four = np.arange(4, dtype=np.float32).tobytes()
    typed = Call(
        Global("torch._tensor", "_rebuild_from_type_v2"),
        Global("torch._utils", "_rebuild_parameter"),
        Global("torch.nn", "Parameter"),
        (tensor(1, (3,), (1,)), True, None),
        {"attribute": 1},
    )
    content = {"none": parameter(tensor(2, (), ())), "one": typed}
    content = read_torch(torch_zip(tmp_path / "weights.pt", content, four))
    # A tensor without axes has no length that could be counted.
    assert content["none"] == 2
    assert content["none"].shape == ()
    assert content["one"].tolist() == [1, 2, 3]


def test_no_pickle_writes_into_a_tensor(tmp_path, refused):
    """NumPy would also take for ever to turn some values into numbers."""
    value = b"X\x01\x00\x00\x00x" + b"2\x86" * 60
    for made in (tensor(0, (4,), (1,)), tensor(0, (0,), (1,)), empty_array()):
        body = io.BytesIO()
        Pickler(body, 2).dump(made)
        program = body.getvalue().removesuffix(b".") + b"N" + value + b"s."
        file = torch_pickle(tmp_path / "weights.pt", program, bytes(16))
        refused(file, "read-only")


def empty_array():
    reconstruct = Global("numpy.core.multiarray", "_reconstruct")
    return Call(reconstruct, Global("numpy", "ndarray"), (0,), b"b")


def numpy_array(data, code="u1", order="|", shape=None):
    dtype = Build(
        Call(Global("numpy", "dtype"), code, False, True),
        (3, order, None, None, None, -1, -1, 0),
    )
    return Build(empty_array(), (1, shape or (len(data),), dtype, False, data))


def test_arrays_view_the_bytes_of_the_pickle(tmp_path):
    """Otherwise a file could fill the memory with copies of the same bytes."""
    data = bytes(range(256)) * 4
    content = [numpy_array(data), numpy_array(data)]
    stream = io.BytesIO()
    Pickler(stream, 3).dump(content)
    file = torch_pickle(tmp_path / "weights.pt", stream.getvalue())
    first, second = read_torch(file)
    assert first.tobytes() == data
    assert np.shares_memory(first, second)


def test_arrays_in_the_other_byte_order_are_refused(tmp_path):
    content = numpy_array(bytes(8), "f4", ">")
    with pytest.raises(InputError, match="numbers in big order"):
        read_torch(torch_zip(tmp_path / "weights.pt", content))


@pytest.mark.parametrize(
    ("shape", "code"),
    [((3,), "u1"), ((-1,), "u1"), ((1 << 40,), "S0"), ((1,) * 300, "S4"), (4, "u1")],
)
def test_arrays_of_impossible_shapes_are_refused(shape, code, tmp_path, refused):
    content = numpy_array(b"abcd", code, shape=shape)
    file = torch_zip(tmp_path / "weights.pt", content)
    refused(file, "impossible shape|no plain type|damaged")


@pytest.mark.parametrize("code", ["O", "f4,f4", "(2,)f4", "M8", "V8", "nonsense", 3])
def test_arrays_of_other_things_than_numbers_are_refused(code, tmp_path, refused):
    content = Call(Global("numpy", "dtype"), code, False, True)
    file = torch_zip(tmp_path / "weights.pt", content)
    refused(file, "no plain type|damaged")


def test_tensors_stay_inside_their_storage(tmp_path):
    four = np.arange(4, dtype=np.float32).tobytes()
    file = tmp_path / "weights.pt"
    good = read_torch(torch_zip(file, {"x": tensor(1, (3,), (1,))}, four))
    assert good["x"].tolist() == [1, 2, 3]
    outside = [(2, (3,), (1,)), (0, (5,), (1,)), (0, (2, 2), (3, 1)), (9, (1,), (1,))]
    for offset, size, stride in outside:
        torch_zip(file, {"x": tensor(offset, size, stride)}, four)
        with pytest.raises(InputError, match="reaches beyond its 16 bytes"):
            read_torch(file)
    for offset, size, stride in [(-1, (1,), (1,)), (3, (2,), (-1,)), (0, (-1,), (1,))]:
        torch_zip(file, {"x": tensor(offset, size, stride)}, four)
        with pytest.raises(InputError, match="impossible shape"):
            read_torch(file)
    torch_zip(file, {"x": tensor(0, (1,), (1,), count=5)}, four)
    with pytest.raises(InputError, match="truncated"):
        read_torch(file)
