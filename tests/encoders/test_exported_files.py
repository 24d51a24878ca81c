"""Single files of exported tokens: every way to write one, and damaged ones."""

import json
import re
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from unmute_jax.encoders.exported_files import open_file
from unmute_jax.errors import InputError

CLIPS, T, F, D = 9, 4, 2, 6
IDS = np.array([f"clip {i}" for i in range(CLIPS)])


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {
        "patches": rng.standard_normal((CLIPS, T, F, D), np.float32),
        "cls": rng.standard_normal((CLIPS, D), np.float32),
        "mask": rng.random((CLIPS, T)) < 0.5,
    }


def write(folder, arrays, kind="npz", ids=IDS):
    path = folder / f"part.{'safetensors' if kind == 'safetensors' else 'npz'}"
    if kind == "safetensors":
        arrays = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
        metadata = {"ids": json.dumps(ids.tolist())}
        safetensors.numpy.save_file(arrays, path, metadata=metadata)
    else:
        save = np.savez_compressed if kind == "compressed" else np.savez
        save(path, ids=ids, **arrays)
    return path


@pytest.mark.parametrize(
    "kind", ["npz", "safetensors", "compressed", "fortran", "bytes"]
)
def test_every_way_to_write_a_file_gives_the_same_rows(tmp_path, arrays, kind):
    ids = IDS.astype("S") if kind == "bytes" else IDS
    order = np.asfortranarray if kind == "fortran" else np.asarray
    written = {name: order(x) for name, x in arrays.items()}
    file = open_file(write(tmp_path, written, kind, ids))
    assert file.ids == tuple(IDS)
    rows = np.random.default_rng(2).permutation(CLIPS)[:5]
    for name, x in arrays.items():
        assert file.arrays[name].shape == x.shape
        np.testing.assert_array_equal(file.arrays[name][rows], x[rows])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_any_type_of_float_is_read(tmp_path, arrays, dtype):
    patches = arrays["patches"].astype(jnp.dtype(dtype))
    kind = "safetensors" if dtype == "bfloat16" else "npz"
    file = open_file(write(tmp_path, {"patches": patches}, kind))
    got = file.arrays["patches"][np.arange(3)]
    assert got.dtype == patches.dtype
    np.testing.assert_array_equal(got, patches[:3])


def test_uncompressed_arrays_stay_on_disk(tmp_path, arrays):
    file = open_file(write(tmp_path, arrays))
    assert isinstance(file.arrays["patches"], np.memmap)


@pytest.mark.parametrize(
    ("changes", "ids", "message"),
    [
        ({}, np.arange(CLIPS), "must be a list of strings; they are int64"),
        ({}, np.array(["a"]), "has 1 ids, and .* must have one row per clip"),
        ({}, np.array([object()] * CLIPS), "array ids holds Python objects, not num"),
        ({"clss": np.zeros(CLIPS)}, IDS, "did you mean 'cls'"),
        ({"cls": np.array([object()] * CLIPS)}, IDS, "holds Python objects, not num"),
    ],
)
def test_wrong_arrays_are_refused_in_one_line(tmp_path, arrays, changes, ids, message):
    path = write(tmp_path, arrays | changes, ids=ids)
    with pytest.raises(InputError, match=message) as caught:
        open_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ids_and_patches_are_needed(tmp_path, arrays):
    with pytest.raises(InputError, match="has no patches, only cls"):
        open_file(write(tmp_path, {"cls": arrays["cls"]}))
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match="write their ids as an array `ids` of strin"):
        open_file(tmp_path / "x.npz")
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="write their ids as metadata="):
        open_file(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("npz", ": is not a zip archive, or its download was cut short"),
        ("safetensors", " cannot be read, or is cut short"),
    ],
)
def test_a_truncated_file_is_refused(tmp_path, arrays, kind, reason):
    path = write(tmp_path, arrays, kind)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=re.escape(f"{path}{reason}")):
        open_file(path)


def test_damage_in_a_compressed_array_is_one_line(tmp_path, arrays):
    path = write(tmp_path, arrays, "compressed")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("patches.npy").header_offset
    content[start + 300 : start + 400] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{path}")) as caught:
        open_file(path).arrays["patches"][np.arange(3)]
    assert str(caught.value).isprintable()
