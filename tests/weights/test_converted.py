"""Converted files: what they say, and that altered ones are refused."""

import contextlib
import hashlib
import json

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from tests import golden
from unmute_jax.encoders import conversion, load_encoder, with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights import converted, loading
from unmute_jax.weights.digests import digest_of
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.torch_file import read_torch

EAT = golden.ENCODERS / "eat_tiny.pt"


@pytest.fixture(scope="module")
def eat(tmp_path_factory):
    """A converted file, never to be changed."""
    output = tmp_path_factory.mktemp("converted") / "eat.safetensors"
    conversion.convert(with_weights("eat"), EAT, output)
    return output


@pytest.fixture
def altered(eat, tmp_path):
    """Writes the converted file with other metadata or tensors, and no true digest."""

    def write(*, tensors=None, digest=None, **metadata):
        with safetensors.safe_open(eat, "numpy") as file:
            about = dict(file.metadata())
        stored = {k: v.copy() for k, v in safetensors.numpy.load_file(eat).items()}
        stored |= tensors or {}
        about |= {key: value for key, value in metadata.items() if value is not None}
        for key in [key for key, value in metadata.items() if value is None]:
            del about[key]
        if digest:
            about["digest"] = digest_of(about, stored)
        file = tmp_path / "altered.safetensors"
        safetensors.numpy.save_file(stored, file, about)
        return file

    return write


def test_a_converted_file_says_what_it_is(eat):
    about = read_weights(eat).metadata
    encoder = load_encoder("eat", EAT)
    assert about["encoder"] == "eat"
    assert about["source_file"] == "eat_tiny.pt"
    assert about["source_sha256"] == hashlib.sha256(EAT.read_bytes()).hexdigest()
    assert about["layout"] == "fairseq"
    assert about["training"] == "pre-trained"
    assert (about["licence"], about["format_version"]) == ("MIT", "1")
    assert "2401.03497" in about["citation"]
    details = json.loads(json.dumps(encoder.details()))
    assert json.loads(about["sizes"]) == details.pop("sizes")
    assert int(about["num_heads"]) == details.pop("num_heads")
    assert json.loads(about["front_end"]) == details


def test_altered_files_are_refused(eat, altered, tmp_path):
    content = bytearray(eat.read_bytes())
    content[-7] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    flipped = tmp_path / "flipped.safetensors"
    bias = {"blocks_0.norm1.bias": np.zeros(3, np.float32)}
    half = {"blocks_0.norm1.bias": np.zeros(48, ml_dtypes.bfloat16)}
    for file in (
        flipped,
        altered(num_heads="2"),
        altered(source_sha256="0" * 64),
        altered(licence="none"),
        altered(tensors=bias),
        altered(tensors=half),
        altered(tensors={"more": np.zeros(3, np.float32)}),
    ):
        with pytest.raises(InputError, match="was altered after it was converted"):
            load_encoder("eat", file)


SIZES = {"width": 48, "depth": 3, "hidden": 192, "positions": 512, "classes": None}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sizes": json.dumps(SIZES | {"depth": 10**9})}, "not those of its tensors"),
        ({"sizes": json.dumps(SIZES | {"width": 10**8})}, "not those of its tensors"),
        ({"sizes": json.dumps(SIZES | {"hidden": 191})}, "damaged in its tensors"),
        ({"sizes": json.dumps(SIZES | {"hidden": -1})}, "sizes are impossible"),
        ({"sizes": json.dumps(SIZES | {"more": 1})}, "metadata lack something"),
        ({"sizes": "[" * 100_000}, "metadata lack something"),
        ({"num_heads": "many"}, "metadata lack something"),
        ({"num_heads": "5"}, "48 cannot be split into 5 heads"),
        ({"source_sha256": "unknown"}, "metadata lack something"),
        ({"licence": None}, "metadata lack something"),
        ({"format_version": "soon"}, "of no version"),
        ({"format_version": "2"}, "version 2 of the format.* update unmute-jax"),
    ],
)
def test_files_that_lie_consistently_are_refused(change, match, altered):
    with pytest.raises(InputError, match=match) as caught:
        load_encoder("eat", altered(digest=True, **change))
    assert str(caught.value).isprintable()


def test_values_that_are_not_finite_are_refused_by_name(altered):
    """A version that did not look at the values may have converted them."""
    scale = np.full(48, np.nan, np.float32)
    file = altered(tensors={"blocks_1.norm1.bias": scale}, digest=True)
    with pytest.raises(
        InputError, match=r"tensor blocks_1\.norm1\.bias has NaN or inf"
    ):
        load_encoder("eat", file)


def test_another_encoder_and_other_heads_are_refused(eat):
    with pytest.raises(InputError, match="a converted encoder 'eat', not 'sslam'"):
        load_encoder("sslam", eat)
    with pytest.raises(InputError, match="was converted with 4 heads, not 8"):
        load_encoder("eat", eat, num_heads=8)
    assert load_encoder("eat+", eat, num_heads=4).weights.startswith("sha256:")


def test_half_precision_becomes_float32(tmp_path):
    whole = read_torch(golden.ENCODERS / "dasheng_tiny.pt")["model"]
    halves = {k: np.ascontiguousarray(v).astype(np.float16) for k, v in whole.items()}
    source, output = tmp_path / "half.safetensors", tmp_path / "out.safetensors"
    safetensors.numpy.save_file(halves, source)
    conversion.convert(with_weights("dasheng"), source, output, 4)
    want = load_encoder("dasheng", source, num_heads=4).params
    got = load_encoder("dasheng", output).params
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_the_progress_ends_at_the_size_of_the_file(tmp_path, monkeypatch):
    """Tensors of less than a megabyte count as well."""
    shown = []

    @contextlib.contextmanager
    def progress(label, total, unit):
        shown.append(-total)
        yield shown.append

    monkeypatch.setattr(converted, "progress", progress)
    weights = loading.untrained(with_weights("eat").ORIGIN, 0, width=128, depth=3)
    converted.write(tmp_path / "eat.safetensors", weights, {})
    assert shown[0] < -2
    assert sum(shown) == 0
