"""The one-bit probe: a file, and two ways to run it."""

import dataclasses
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.store.fakes import fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.inference import one_bit
from unmute_jax.inference.export import export_probe, load_exported
from unmute_jax.probes import make_probe
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.key import plain
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.tokens import Tokens

D, CLASSES = 19, ("ash", "birch", "cedar")


def random_tokens(b=4, t=5, f=3, d=D, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((b, t, f, d)).astype(np.float32) + 0.3
    # A token of zeros, a short clip, and a clip without anything.
    x[0, 0, 0] = 0
    mask = np.ones((b, t), bool)
    mask[1, 2:] = False
    mask[2] = False
    return Tokens(patches=x, cls=x.mean((1, 2)), mask=mask)


def trained(*, standardise=False, task="multi-label", d=D, per_class=4, **changes):
    tokens = random_tokens(d=d)
    probe = make_probe("protobin", num_classes=3, prototypes_per_class=per_class)
    params = jax.device_get(probe.init(jax.random.key(1), tokens)["params"])
    # A weight of exactly zero counts as +1.
    params["prototypes"] = np.where(
        np.arange(d) == 7, np.float32(-0.0), params["prototypes"]
    )
    normaliser = None
    if standardise:
        mean = np.linspace(-1, 1, d, dtype=np.float32)
        sd = np.linspace(0.5, 2, d, dtype=np.float32)
        normaliser = FeatureNormaliser.of_tokens(mean, sd)
    encoder = fake_encoder()
    facts = {
        "name": "protobin",
        "options": {"prototypes_per_class": per_class},
        "params": params,
        "normaliser": normaliser,
        "classes": CLASSES,
        "task": task,
        "encoder": plain(encoder.identity()),
        "encoder_description": encoder.description,
        "geometry": encoder.geometry,
        "dtype": "bfloat16",
        "dataset": "trees",
        "protocol": "official split",
        "clip_seconds": 1.0,
        "seed": 0,
        "validation": 0.5,
        "settings": {},
    }
    return TrainedProbe(**{**facts, **changes})


def error_bound(probe, dense):
    """How far the documentation allows a logit to be off, per class."""
    weights = np.abs(probe.params["classifier"]["kernel"])
    if dense == "float16":
        return (weights * 2.0**-11 + 2.0**-25).sum(0)
    return weights.max(0) / 254 * len(weights)


@pytest.mark.parametrize("dense", ["float16", "int8"])
@pytest.mark.parametrize(
    ("standardise", "dtype"),
    [(False, "bfloat16"), (True, "bfloat16"), (False, "int8"), (True, "int8")],
)
def test_predictions_are_those_of_the_run(tmp_path, dense, standardise, dtype):
    probe, tokens = trained(standardise=standardise, dtype=dtype), random_tokens()
    path = tmp_path / "probe.safetensors"
    export_probe(probe, path, dense=dense)
    want = np.asarray(probe.logits(tokens))
    exported = load_exported(path, fake_encoder())
    got = np.asarray(exported.logits(tokens))
    assert (np.abs(got - want) <= error_bound(probe, dense) + 1e-5).all()
    # The signs are exact: with the dense layer of the run nothing is lost.
    layer = {**exported.params, "classifier": probe.params["classifier"]}
    exact = dataclasses.replace(exported, params=layer)
    np.testing.assert_array_equal(exact.logits(tokens), want)
    # NumPy alone gives the same.
    device = one_bit.load(path, plain(fake_encoder().identity()))
    for i in range(4):
        alone = device.logits(tokens.patches[i], tokens.mask[i])
        np.testing.assert_allclose(alone, got[i], atol=2e-5)
        scores = device(tokens.patches[i], tokens.mask[i])
        np.testing.assert_allclose(scores, 1 / (1 + np.exp(-got[i])), atol=1e-5)
    assert (exported.classes, exported.task) == (CLASSES, "multi-label")
    assert exported.geometry == probe.geometry


def test_float32_tokens_and_single_labels(tmp_path):
    probe = trained(dtype="float32", task="single-label")
    export_probe(probe, tmp_path / "a.safetensors")
    device, tokens = one_bit.load(tmp_path / "a.safetensors"), random_tokens()
    scores = device(tokens.patches[3].reshape(-1, D))
    want = jax.nn.softmax(probe.logits(tokens)[3])
    np.testing.assert_allclose(scores, want, atol=1e-3)
    assert scores.sum() == pytest.approx(1)


def test_prototypes_of_urban_take_19200_bytes(tmp_path):
    probe = trained(d=768, per_class=20, classes=tuple("abcdefghij"))
    prototypes = np.random.default_rng(0).standard_normal((200, 768), np.float32)
    layer = {"kernel": np.ones((200, 10), np.float32), "bias": np.ones(10, np.float32)}
    probe = dataclasses.replace(
        probe, params={"prototypes": prototypes, "classifier": layer}
    )
    sizes = export_probe(probe, tmp_path / "urban.safetensors", dense="int8")
    assert sizes["prototypes"] == 19_200
    assert sizes["file"] == (tmp_path / "urban.safetensors").stat().st_size < 25_000


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


def test_tokens_of_another_encoder_are_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    other = fake_encoder(weights="other")
    message = "another encoder: weights was 'untrained, seed 0', and is 'other'"
    with pytest.raises(InputError, match=message):
        load_exported(path, other)
    with pytest.raises(ValueError, match=message):
        one_bit.load(path, plain(other.identity()))
    probe = one_bit.load(path)
    with pytest.raises(ValueError, match=r"must be \[T, F, 19\] or \[N, 19\], not"):
        probe(np.ones((6, 20), np.float32))


def test_mistakes_are_named(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(InputError, match="did you mean 'float16'"):
        export_probe(trained(), path, dense="float8")
    with pytest.raises(InputError, match=r"only protobin .* 'protofloat'"):
        export_probe(trained(name="protofloat"), path)
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        load_exported(path)
    export_probe(trained(), path)
    for cut in (3, 100, -1):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match="is no one-bit probe, or is cut short"):
            load_exported(broken)
