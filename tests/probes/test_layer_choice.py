"""What probes read with the option `layers`, computed another way."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.probes.fakes import D, L, draw, init_and_apply
from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe, probe_options
from unmute_jax.tokens import summarise

LAYERED = [name for name in list_probes() if "layers" in probe_options(name)]
GATES = np.asarray([0.3, -1.2], np.float32)
SHARE = np.exp(GATES) / np.exp(GATES).sum()


def make(name, **options):
    return make_probe(name, num_classes=3, **options)


def logits_of_last(name, variables, x, **options):
    """The logits of the probe of the last layer, on other tokens."""
    x = x.replace(layers=None, layer_cls=None)
    return make(name, **options).apply(variables, x)


def unit(x):
    """Vectors whose entries have a root mean square of 1."""
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True))


def test_the_probes_with_the_option():
    assert LAYERED == ["linear", "mhca", "protobin", "stats"]


@pytest.mark.parametrize("name", LAYERED)
def test_last_is_the_default_and_does_not_look_at_the_layers(name):
    x = draw()
    assert make(name).layers == "last"
    variables, logits = init_and_apply(make(name), x)
    same, also = init_and_apply(make(name, layers="last"), x.replace(layers=None))
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    np.testing.assert_array_equal(logits, also)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in LAYERED),
        ("linear", {"input": "mean"}),
        ("stats", {"per_band": True}),
    ],
)
@pytest.mark.parametrize("index", [0, -1])
def test_a_number_reads_that_layer_as_it_is(name, options, index):
    x = draw()
    variables, logits = init_and_apply(make(name, layers=index, **options), x)
    alone = x.replace(patches=x.layers[:, index], cls=x.layer_cls[:, index])
    expected = logits_of_last(name, variables, alone, **options)
    np.testing.assert_allclose(logits, expected, atol=2e-6)
    number = str(index % L)
    assert make(name, layers=index).fitted_to(L, "an encoder").layers == number


@pytest.mark.parametrize("name", ["mhca", "protobin"])
def test_learned_weights_average_tokens_of_unit_size(name):
    x = draw()
    probe = make(name, layers="learned")
    variables, _ = init_and_apply(probe, x)
    variables["params"]["gates"] = GATES
    mixed = np.einsum("bltfd,l->btfd", unit(x.layers), SHARE)
    expected = logits_of_last(name, variables, x.replace(patches=mixed))
    np.testing.assert_allclose(probe.apply(variables, x), expected, atol=2e-6)
    np.testing.assert_allclose(probe.layer_weights(variables["params"]), SHARE, 1e-6)


@pytest.mark.parametrize("name", ["mhca", "protobin"])
def test_all_layers_are_positions_of_one_clip(name):
    x = draw()
    probe = make(name, layers="all")
    variables, logits = init_and_apply(probe, x)
    joined = x.replace(
        layers=None,
        layer_cls=None,
        patches=np.concatenate([unit(x.layers[:, k]) for k in range(L)], axis=1),
        mask=np.concatenate([x.mask] * L, axis=1),
    )
    expected = logits_of_last(name, variables, joined)
    np.testing.assert_allclose(logits, expected, atol=2e-6)
    assert probe.layer_weights(variables["params"]) is None


def vectors(name, x, options):
    """The vector of each layer, `[B, L, X]`."""
    found = []
    for k in range(L):
        s = summarise(x.replace(patches=x.layers[:, k], cls=x.layer_cls[:, k]))
        if name == "linear":
            found.append(getattr(s, options.get("input", "cls")))
            continue
        parts = (s.mean, s.max, s.std)
        if options:
            parts = (s.band_mean, s.band_max, s.band_std)
        found.append(np.concatenate([p.reshape(len(p), -1) for p in parts], -1))
    return np.stack([np.asarray(v) for v in found], axis=1)


FIXED = [
    ("linear", {}),
    ("linear", {"input": "mean"}),
    ("stats", {}),
    ("stats", {"per_band": True}),
]


@pytest.mark.parametrize("layers", ["learned", "all"])
@pytest.mark.parametrize(("name", "options"), FIXED)
def test_vectors_of_unit_size_are_averaged_or_concatenated(name, options, layers):
    x = draw()
    probe = make(name, layers=layers, **options)
    variables, _ = init_and_apply(probe, x)
    features = unit(vectors(name, x, options))
    if layers == "learned":
        variables["params"]["gates"] = GATES
        features = np.einsum("blx,l->bx", features, SHARE)
    features = features.reshape(len(features), -1)
    affine = jax.tree.map(np.asarray, variables["params"]["classifier"])
    expected = features @ affine["kernel"] + affine["bias"]
    np.testing.assert_allclose(probe.apply(variables, x), expected, atol=5e-6)


@pytest.mark.parametrize("name", LAYERED)
def test_the_weights_of_the_layers_are_learned(name):
    x = draw()
    probe = make(name, layers="learned")
    variables, _ = init_and_apply(probe, x)

    def loss(variables):
        return np.float32(1) * (probe.apply(variables, x) ** 2).sum()

    gradient = jax.jit(jax.grad(loss))(variables)["params"]["gates"]
    assert (np.abs(gradient) > 1e-6).all()
    np.testing.assert_allclose(np.sum(gradient), 0, atol=1e-5)


@pytest.mark.parametrize("layers", ["first", "1.5", "", True])
def test_a_wrong_layer_is_one_line(layers):
    with pytest.raises(InputError, match="last, all, learned or the number of a layer"):
        make("linear", layers=layers)


def test_a_layer_that_the_encoder_lacks_is_one_line():
    with pytest.raises(InputError, match=r"no layer 12: the 12 layers .* 0 to 11"):
        make("mhca", layers=12).fitted_to(12, "an encoder")
    with pytest.raises(InputError, match=r"no layer -3: the 2 layers .* or -2 to -1"):
        make("linear", layers=-3).apply({}, draw())
    for name, layers in (("stats", "learned"), ("protobin", "0"), ("linear", "all")):
        with pytest.raises(InputError, match="its last layer only"):
            make(name, layers=layers).fitted_to(0, "an encoder")
    assert make("linear").fitted_to(0, "an encoder") == make("linear")
    with pytest.raises(InputError, match="its last layer only"):
        make("cgp").fitted_to(0, "an encoder")


def test_int8_tokens_of_a_layer_keep_their_scales():
    x = draw()
    ones = np.ones((*x.layers.shape[:-1],), np.float32)
    x = dataclasses.replace(x, layer_scales=ones, scales=ones[:, 0])
    assert x.of_layer(1).scales.shape == x.patches.shape[:-1]
    assert x.of_layer(1).patches.shape[-1] == D
