import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.damage import LONE, contents, damaged, rewritten
from tests.inference.one_bit_probes import D, random_tokens, trained
from tests.store.fakes import fake_encoder
from unmute_jax.inference import one_bit
from unmute_jax.inference.export import export_probe
from unmute_jax.store.key import as_json


def test_float32_tokens_and_single_labels(tmp_path):
    probe = trained(dtype="float32", task="single-label")
    export_probe(probe, tmp_path / "a.safetensors")
    device, tokens = one_bit.load(tmp_path / "a.safetensors"), random_tokens()
    scores = device(tokens.patches[3].reshape(-1, D))
    want = jax.nn.softmax(probe.logits(tokens)[3])
    np.testing.assert_allclose(scores, want, atol=1e-3)
    assert scores.sum() == pytest.approx(1)


def test_the_reader_needs_numpy_alone(tmp_path):
    export_probe(trained(), tmp_path / "p.safetensors")
    copied = tmp_path / "one_bit.py"
    copied.write_bytes(pathlib.Path(one_bit.__file__).read_bytes())
    program = (
        "import sys, numpy, one_bit\n"
        "probe = one_bit.load('p.safetensors')\n"
        f"print(probe(numpy.ones((6, {D}), 'float32')).shape)\n"
        "print({'jax', 'flax', 'unmute_jax', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["(3,)", "set()"], done.stderr


def test_an_encoder_is_compared_before_use(tmp_path):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    other = as_json(fake_encoder(weights="other").identity())
    with pytest.raises(ValueError, match="weights was 'untrained, seed 0', and is 'ot"):
        one_bit.load(path, other)
    probe = one_bit.load(path, as_json(fake_encoder().identity()))
    with pytest.raises(ValueError, match=r"must be \[T, F, 19\] or \[N, 19\], not"):
        probe(np.ones((6, 20), np.float32))


@pytest.mark.parametrize("size", [3, 100, -1])
def test_a_damaged_file_is_named(tmp_path, size):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="is no one-bit probe, or is cut short"):
        one_bit.load(path)


# Damage


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A file that is never to be changed."""
    path = tmp_path_factory.mktemp("exported") / "p.safetensors"
    export_probe(trained(standardise=True), path, dense="int8")
    return path


def read_error(path):
    """The message with which a file is refused; None if it is read."""
    try:
        one_bit.load(path)
    except ValueError as error:
        message = str(error)
    else:
        return None
    assert message.isprintable()
    assert len(message) < 400
    assert str(path) in message
    return message


def test_damage_anywhere_in_a_file_is_noticed(exported, tmp_path):
    path = tmp_path / "p.safetensors"
    read = []
    for what, content in damaged(exported.read_bytes(), 0, 1000):
        path.write_bytes(content)
        if read_error(path) is None:
            read.append(what)
    assert not read


def test_files_of_a_newer_version_are_refused(exported, tmp_path):
    path = tmp_path / "p.safetensors"

    def change(about):
        about.update(format=one_bit.FORMAT + 1, novelty=1)

    for digest in (True, False):
        rewritten(exported, path, one_bit.KEY, change, digest=digest)
        assert "was written by a newer version" in read_error(path)


def test_a_file_without_its_digest_is_refused(exported, tmp_path):
    path = rewritten(exported, tmp_path / "p.safetensors", one_bit.KEY)
    assert "the digest must be that of the content" in read_error(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(classes=[1, 2]), "classes must be texts"),
        (lambda a: a.update(classes=["ash", "oak"]), "tensor 'bias' must be float32"),
        (lambda a: a.update(classes=["ash"] * 3), "classes must be different"),
        (lambda a: a.update(classes="abc"), "classes must be a list"),
        (lambda a: a.update(classes=["ash", LONE, "oak"]), "no one-bit probe"),
        (lambda a: a.update(dtype=[1, 2]), "dtype must be one of"),
        (lambda a: a.update(task={}), "task must be one of"),
        (lambda a: a.update(features=17), "tensor 'token_mean' must be"),
        (lambda a: a.update(features=True), "features must be a whole number"),
        (lambda a: a.update(features=10**30), "features must be a whole number"),
        (lambda a: a.update(encoder=None), "encoder must be an object"),
        (lambda a: a.update(encoder_description=3), "encoder_description must be a te"),
        (lambda a: a.update(seconds_per_step="1"), "must be a number above 0"),
        (lambda a: a.update(clip_seconds=float("inf")), "must be a number above 0"),
        (lambda a: a.update(frequency_edges_hz=[]), "frequency_edges_hz must be"),
        (lambda a: a.update(frequency_edges_hz=[[9, 1]]), "frequency_edges_hz must be"),
        (lambda a: a.update(seed=1.5), "seed must be a whole number"),
        (lambda a: a.update(validation=[]), "validation must be between 0 and 1"),
        (lambda a: a.update(layers=-3), "layers must be last, all or a number"),
        (lambda a: a.pop("seed"), "seed must be there"),
        (lambda a: a.update(novelty=1), "'novelty' must be of a known name"),
        (lambda a: a.update(format="1"), "format must be a version"),
        (lambda a: a.update(format=0), "format must be a version"),
        (lambda a: "[" * 10_000, "no one-bit probe"),
        (lambda a: '{"a":' * 60 + "1" + "}" * 60, "no one-bit probe"),
        (lambda a: '{"format": 1, "format": 1}', "no one-bit probe"),
        (lambda a: "3", "no one-bit probe"),
    ],
)
def test_values_that_are_impossible_are_named(exported, tmp_path, change, message):
    """Also where the digest fits: the file may have been written like this."""
    path = tmp_path / "p.safetensors"

    def version_1(about):
        about["format"] = 1
        return change(about)

    for changed, digest in ((version_1, False), (change, True)):
        rewritten(exported, path, one_bit.KEY, changed, digest=digest)
        assert message in (read_error(path) or "it was read")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("signs"), "the number of prototypes must be a multiple of 3"),
        (lambda t: t.update(signs=t["signs"][1:]), "must be a multiple of 3"),
        (lambda t: t.update(signs=t["signs"][:3]), "tensor 'weights' must be int8"),
        (lambda t: t.pop("bias"), "tensor 'bias' must be float32 (3,)"),
        (lambda t: t.pop("token_sd"), "tensor 'token_sd' must be float32 (19,)"),
        (lambda t: t.pop("weight_scale"), "tensor 'weights' must be float16"),
        (lambda t: t.update(x=t["bias"]), "tensor 'x' must be absent"),
        (lambda t: t.update(signs=t["signs"].view(np.int8)), "must be uint8"),
        (lambda t: t.update(bias=t["bias"].astype(np.float64)), "no one-bit probe"),
    ],
)
def test_tensors_that_do_not_fit_are_named(exported, tmp_path, change, message):
    path = tmp_path / "p.safetensors"
    rewritten(exported, path, one_bit.KEY, tensors=change, digest=True)
    assert message in (read_error(path) or "it was read")


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(shape=[1] * 64 + [3]),
        lambda entry: entry.update(shape=[-3]),
        lambda entry: entry.update(shape=[1 << 62, 1 << 62]),
        lambda entry: entry.update(shape="3"),
        lambda entry: entry.update(data_offsets=[0, 0]),
        lambda entry: entry.update(data_offsets=[None, None]),
        lambda entry: entry.update(dtype=["F32"]),
        lambda entry: entry.clear(),
    ],
)
def test_headers_that_lie_are_refused(exported, tmp_path, change):
    header, body = contents(exported)
    change(header["bias"])
    text = json.dumps(header).encode()
    path = tmp_path / "p.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert "no one-bit probe" in read_error(path)


def test_tokens_that_are_not_finite_are_no_warning(tmp_path):
    export_probe(trained(), tmp_path / "p.safetensors")
    probe = one_bit.load(tmp_path / "p.safetensors")
    for value in (np.nan, np.inf, 3e38):
        assert probe(np.full((6, D), value, np.float32)).shape == (3,)
