import dataclasses
import json

import numpy as np
import pytest
import safetensors

from tests import golden
from tests.inference.one_bit_probes import CLASSES, random_tokens, trained
from tests.store.fakes import fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.inference import one_bit
from unmute_jax.inference.export import export_probe, load_exported
from unmute_jax.store.key import as_json


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
    device = one_bit.load(path, as_json(fake_encoder().identity()))
    for i in range(4):
        alone = device.logits(tokens.patches[i], tokens.mask[i])
        np.testing.assert_allclose(alone, got[i], atol=2e-5)
        scores = device(tokens.patches[i], tokens.mask[i])
        np.testing.assert_allclose(scores, 1 / (1 + np.exp(-got[i])), atol=1e-5)
    assert (exported.classes, exported.task) == (CLASSES, "multi-label")
    assert exported.geometry == probe.geometry


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


@pytest.mark.parametrize("layers", ["1", "all"])
def test_a_file_states_which_layers_it_reads(tmp_path, layers):
    probe = trained(options={"prototypes_per_class": 4, "layers": layers})
    tokens, path = random_tokens(), tmp_path / "probe.safetensors"
    both = np.stack([tokens.patches[::-1], tokens.patches], axis=1)
    tokens = tokens.replace(layers=both, layer_cls=both.mean((2, 3)))
    export_probe(probe, path)
    want = np.asarray(probe.logits(tokens))
    exported = load_exported(path, fake_encoder())
    got = np.asarray(exported.logits(tokens))
    assert (np.abs(got - want) <= error_bound(probe, "float16") + 1e-5).all()
    device = one_bit.load(path)
    assert device.layers == layers
    for i in range(4):
        read = both[i] if layers == "all" else both[i, 1:]
        read = read[:, tokens.mask[i]].reshape(-1, read.shape[-1])
        np.testing.assert_allclose(device.logits(read), got[i], atol=2e-5)
    export_probe(trained(), path)
    assert one_bit.load(path).layers == "last"


def test_learned_weights_of_layers_do_not_fit_into_a_one_bit_file(tmp_path):
    probe = trained(options={"prototypes_per_class": 4, "layers": "learned"})
    with pytest.raises(InputError, match=r"layers=learned.* floating-point"):
        export_probe(probe, tmp_path / "probe.safetensors")


def test_tokens_of_another_encoder_are_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    message = "another encoder: weights was 'untrained, seed 0', and is 'other'"
    with pytest.raises(InputError, match=message):
        load_exported(path, fake_encoder(weights="other"))


def test_mistakes_are_named(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(InputError, match="did you mean 'float16'"):
        export_probe(trained(), path, dense="float8")
    with pytest.raises(InputError, match=r"only protobin .* 'protofloat'"):
        export_probe(trained(name="protofloat"), path)
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        load_exported(path)
    export_probe(trained(), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is no one-bit probe, or is cut short"):
        load_exported(path)


@pytest.mark.parametrize("dense", ["float16", "int8"])
def test_files_of_the_first_version_are_read_and_predict_the_same(dense):
    with np.load(golden.FORMAT_1 / "expected.npz") as expected:
        want = expected[f"one_bit_{dense}"]
    path = golden.FORMAT_1 / f"one_bit_{dense}.safetensors"
    exported, tokens = load_exported(path, fake_encoder()), random_tokens()
    np.testing.assert_allclose(exported.logits(tokens), want, atol=1e-6)
    device = one_bit.load(path)
    for i in range(4):
        alone = device.logits(tokens.patches[i], tokens.mask[i])
        np.testing.assert_allclose(alone, want[i], atol=2e-5)


def test_tokens_of_another_width_are_refused(tmp_path):
    """A width that a damaged file without a digest may state, as the bits suffice."""
    path = tmp_path / "p.safetensors"
    export_probe(trained(d=18), path)
    with pytest.raises(InputError, match="other tokens than these, which have 19 feat"):
        load_exported(path).logits(random_tokens())


def test_a_training_that_diverged_is_exported_as_valid_json(tmp_path):
    path = tmp_path / "p.safetensors"
    export_probe(trained(validation=float("nan")), path)
    with safetensors.safe_open(path, "numpy") as file:
        text = file.metadata()[one_bit.KEY]
    assert json.loads(text, parse_constant=pytest.fail)["validation"] is None
    assert np.isnan(load_exported(path).validation)
