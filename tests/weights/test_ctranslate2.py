"""Files of CTranslate2: what they hold, quantised ones, and damaged ones."""

import struct

import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.weights.ctranslate2 import is_ctranslate2, read_ctranslate2
from unmute_jax.weights.files import read_weights

FILE = golden.MORE_ENCODERS / "whisper_tiny_ct2.bin"


def text(value):
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name, array, kind):
    head = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    data = array.tobytes()
    return text(name) + head + struct.pack("<BI", kind, len(data)) + data


def model(variables, aliases=(), version=6):
    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<I", 3)]
    parts += [struct.pack("<I", len(variables)), *variables]
    parts += [struct.pack("<I", len(aliases))]
    parts += [text(alias) + text(name) for alias, name in aliases]
    return b"".join(parts)


@pytest.fixture
def read(tmp_path):
    def run(data):
        (tmp_path / "model.bin").write_bytes(data)
        return read_weights(tmp_path / "model.bin").content

    return run


def test_variables_and_other_names_are_read(read):
    x = np.arange(6, dtype=np.float16).reshape(2, 3)
    heads = np.array(4, np.int16)
    content = read(
        model(
            [variable("a", x, 4), variable("encoder/num_heads", heads, 2)],
            [("b", "a")],
        )
    )
    assert content["config"] == {"num_heads": 4}
    np.testing.assert_array_equal(content["model"]["b"], x)
    assert content["model"]["a"].dtype == np.float16


def test_weights_of_eight_bits_are_dequantised_by_row(read):
    x = np.array([[100, -50], [10, 127]], np.int8)
    scale = np.array([50.0, 10.0], np.float32)
    data = [variable("l/weight", x, 1), variable("l/weight_scale", scale, 0)]
    got = read(model(data))["model"]
    np.testing.assert_allclose(got["l/weight"], [[2, -1], [1, 12.7]], rtol=1e-6)
    assert list(got) == ["l/weight"]
    data[0] = variable("l/weight", x.astype(np.int16), 2)
    with pytest.raises(InputError, match="convert the model again"):
        read(model(data))


def test_a_quantised_encoder_is_near_the_exact_one(tmp_path):
    content = read_ctranslate2(FILE)["model"]
    variables = []
    for name in sorted(content):
        array = content[name]
        if name.endswith("/weight") and array.ndim > 1 and "encoder" in name:
            top = np.abs(array.astype(np.float32)).reshape(len(array), -1).max(1)
            scale = (127 / top).astype(np.float32)
            rows = scale.reshape(-1, *[1] * (array.ndim - 1))
            number = np.round(array.astype(np.float32) * rows).astype(np.int8)
            variables += [variable(name, number, 1)]
            variables += [variable(f"{name}_scale", scale, 0)]
        else:
            kind = {"float16": 4, "int16": 2, "int8": 1, "float32": 0}[array.dtype.name]
            variables += [variable(name, array, kind)]
    (tmp_path / "model.bin").write_bytes(model(variables))
    wave = np.random.default_rng(0).standard_normal((1, 16000), np.float32) / 10
    exact = np.asarray(load_encoder("whisper", FILE)(wave).patches)
    got = load_encoder("whisper", tmp_path / "model.bin")(wave).patches
    assert 1e-6 < np.abs(exact - got).mean() < 0.05 * np.abs(exact).mean()


def test_damage_is_one_line(read):
    good = FILE.read_bytes()
    assert is_ctranslate2(good[:64])
    for data in (good[:-1], good[: len(good) // 2], good[:40], good + b"x"):
        with pytest.raises(InputError, match=r"model\.bin (is a damaged|goes on)"):
            read(data)
    with pytest.raises(InputError, match="version 7 of CTranslate2's format"):
        read(model([], version=7))
    huge = text("a") + struct.pack("<B2I", 2, 1 << 31, 1 << 31) + b"\0" * 5
    with pytest.raises(InputError, match="damaged"):
        read(model([huge]))
    x = variable("a", np.zeros(1, np.float32), 0)
    with pytest.raises(InputError, match="holds a twice"):
        read(model([x, x]))
    with pytest.raises(InputError, match="names c as b"):
        read(model([x], [("b", "c")]))
    odd = variable("a\n\x1b[31m\0", np.zeros(1, np.float32), 127)
    with pytest.raises(InputError, match="as data type 127") as refused:
        read(model([odd]))
    assert str(refused.value).isprintable()
