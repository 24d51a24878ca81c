"""Prototypes of classes against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import draw_small, shorten
from tests.probes.golden import (
    as_float32,
    assert_gradient,
    cases,
    check_case,
    check_equation,
    number_after,
    read,
    stem,
    tokens_from,
    vectors,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.class_prototypes import activations, upsampled
from unmute_jax.probes.prototypes import subtract_cls


def proto_params(case, kind):
    weight = case[f"{kind}.last_layer.weight"]
    block = weight.size == len(vectors(case, kind))
    return {
        "prototypes": vectors(case, kind),
        "kernel": weight if block else weight.T,
        "bias": case[f"{kind}.last_layer.bias"],
    }


@pytest.mark.parametrize("path", cases("proto_[bd]*.npz"), ids=stem)
def test_proto_equals_the_reference(path):
    case = read(path)
    classes = case["out"].shape[1]
    marks = path.stem.split("_")
    probe = make_probe(
        "proto",
        num_classes=classes,
        prototypes_per_class=len(case["w.prototype_vectors"]) // classes,
        top_k=number_after(path, "topk", 1),
        focal="focal" in marks,
        upsample="upsample" in marks,
        classifier="dense" if "dense" in marks else "block",
        non_negative="signed" not in marks,
    )
    probe = probe.clone(training="train" in marks)
    names = [name for name in ("tokens", "cls") if f"in.{name}" in case]
    check_case(probe, case, proto_params, names, tokens_from)

    @jax.jit
    def similarities(bank, *inputs):
        tokens = tokens_from(*inputs)
        tokens = subtract_cls(tokens) if probe.focal else tokens.with_inverse_norms()
        tokens = upsampled(tokens) if probe.upsample else tokens
        return activations(tokens, bank, probe.top_k)

    actual = similarities(vectors(case, "w"), *(case[f"in.{name}"] for name in names))
    np.testing.assert_allclose(actual, case["mid.activations"], atol=2e-6)


@pytest.mark.parametrize("path", cases("proto_[bd]*.npz"), ids=stem)
def test_orthogonality_equals_the_reference(path):
    case = read(path)
    classes = case["out"].shape[1]
    probe = make_probe(
        "proto",
        num_classes=classes,
        prototypes_per_class=len(case["w.prototype_vectors"]) // classes,
    )
    params = as_float32(proto_params(case, "w"))
    value, gradient = jax.jit(jax.value_and_grad(probe.penalty))(params)
    np.testing.assert_allclose(value, case["xloss"], rtol=1e-5)
    for name, expected in proto_params(case, "gx").items():
        assert_gradient(gradient[name], expected, name)


def test_initial_values_are_those_of_the_reference(key):
    case = read(cases("proto_init.npz")[0])
    classes, per_class = case["last_weight"].shape
    probe = make_probe("proto", num_classes=classes, prototypes_per_class=per_class)
    tokens = tokens_from(np.zeros((1, 256, 1, 1), np.float32))
    params = jax.jit(probe.init)(key, tokens)["params"]
    np.testing.assert_array_equal(params["kernel"], case["last_weight"])
    np.testing.assert_array_equal(params["bias"], case["last_bias"])
    bank = params["prototypes"]
    assert 0 <= bank.min() < 0.01
    assert 0.99 < bank.max() < 1
    owners = np.repeat(np.arange(classes), per_class)
    np.testing.assert_array_equal(case["class_identity"], owners)


def test_small_initial_values_give_small_logits(key):
    x = draw_small()
    largest = {}
    for name in ("uniform", "normal"):
        probe = make_probe("proto", num_classes=3, initialisation=name)
        variables = jax.jit(probe.init)(key, x)
        params = variables["params"]
        largest[name] = float(np.abs(jax.jit(probe.apply)(variables, x)).max())
    assert largest["normal"] < 0.5 < 2 <= largest["uniform"]
    assert np.std(params["prototypes"]) == pytest.approx(0.02, rel=0.1)
    assert np.abs(params["kernel"]).max() < 0.05
    assert (np.asarray(params["kernel"]) < 0).any()
    np.testing.assert_array_equal(params["bias"], 0)


def test_shared_prototypes_are_their_equation(key):
    rng = np.random.default_rng(0)
    e, d = 1e-4, 6
    zeros = []

    def equation(params, tokens):
        def lengthened(x):
            return np.concatenate([x, np.full((*x.shape[:-1], 2), e)], -1)

        z, p = lengthened(tokens), lengthened(params["prototypes"])
        z = z / np.sqrt((z**2).sum(-1, keepdims=True) + e)
        p = p / (np.sqrt((p**2).sum(-1, keepdims=True) + e) + e)
        best = np.maximum(np.einsum("bnd,pd->bnp", z, p) / 1.01, 0).max(1)
        zeros.append((best == 0).sum())
        return best @ params["kernel"] + params["bias"]

    probe = make_probe("proto", num_classes=3, reading="shared", prototypes_per_class=2)
    tokens = rng.normal(size=(3, 3, 1, d))
    variables = jax.jit(probe.init)(key, tokens_from(np.moveaxis(tokens, -1, 1)))
    # Weights of 0.02 would hide the gradients behind the rounding errors.
    params = variables["params"] | {"kernel": rng.normal(size=(6, 3))}
    check_equation(probe, equation, params, tokens)
    assert zeros[0] > 0  # so that ReLU makes a difference


def test_shared_prototypes_start_small_and_have_no_penalty(key):
    tokens = tokens_from(np.zeros((1, 256, 1, 1), np.float32))
    probe = make_probe("proto", num_classes=10, reading="shared")
    params = jax.jit(probe.init)(key, tokens)["params"]
    assert np.std(params["prototypes"]) == pytest.approx(0.02, rel=0.02)
    # N(0, 0.02^2), cut at 0.04, which leaves 0.88 of its standard deviation.
    kernel = params["kernel"]
    assert kernel.shape == (200, 10)
    assert np.std(kernel) == pytest.approx(0.88 * 0.02, rel=0.06)
    assert 0.035 < np.abs(kernel).max() <= 0.04
    np.testing.assert_array_equal(params["bias"], 0)
    assert probe.penalty(params) == 0
    gradient = jax.grad(probe.penalty)(params)
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_a_reading_may_be_spelt_out_and_copied():
    probe = make_probe("proto", num_classes=3, reading="shared")
    assert probe == make_probe(
        "proto",
        num_classes=3,
        reading="shared",
        classifier="dense",
        non_negative=False,
        penalty_weight=0.0,
        initialisation="normal",
    )
    assert probe.clone(training=True).clone(training=False) == probe
    usual = make_probe("proto", num_classes=3)
    assert usual == make_probe("proto", num_classes=3, classifier="block")
    assert "second-hand" in probe.remark
    assert not usual.remark


@pytest.mark.parametrize("options", [{"focal": True}, {"upsample": True}])
def test_a_short_clip_is_a_short_map(key, options):
    x = draw_small()
    probe = make_probe("proto", num_classes=2, **options)
    variables = jax.jit(probe.init)(key, x)
    apply = jax.jit(probe.apply)
    np.testing.assert_allclose(
        apply(variables, x), apply(variables, shorten(x)), atol=1e-6
    )
