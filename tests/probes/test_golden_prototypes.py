"""Float prototypes against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.golden import (
    affine,
    as_float32,
    assert_gradient,
    cases,
    check_case,
    read,
    stem,
    tokens_from,
    vectors,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.class_prototypes import activations, upsampled
from unmute_jax.probes.prototypes import less_cls


def option_of(path, mark, otherwise):
    """The number after `mark` in a file name like `..._k3_train`."""
    parts = [part for part in path.stem.split("_") if part.startswith(mark)]
    return int(parts[0].removeprefix(mark)) if parts else otherwise


def protofloat_params(case, kind):
    params = {"prototypes": vectors(case, kind)}
    if f"{kind}.class_weight" in case:
        params["kernel"] = case[f"{kind}.class_weight"]
        params["bias"] = case[f"{kind}.class_bias"]
    else:
        params["classifier"] = affine(case, f"{kind}.linear")
    return params


@pytest.mark.parametrize("path", cases("protofloat_*.npz"), ids=stem)
def test_protofloat_equals_the_reference(path):
    case = read(path)
    classes = case["out"].shape[1]
    probe = make_probe(
        "protofloat",
        num_classes=classes,
        prototypes_per_class=len(case["w.prototype_vectors"]) // classes,
        top_k=option_of(path, "k", 1),
        focal="focal" in path.stem,
        classifier="block" if "w.class_weight" in case else "dense",
    )
    probe = probe.clone(training=path.stem.endswith("train"))
    if "in.tokens" not in case:  # one vector per clip is one token
        check_case(
            probe,
            case,
            protofloat_params,
            ["cls"],
            lambda x: tokens_from(x[:, :, None, None]),
        )
        return
    names = [name for name in ("tokens", "cls") if f"in.{name}" in case]
    check_case(probe, case, protofloat_params, names, tokens_from)


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
        top_k=option_of(path, "topk", 1),
        focal="focal" in marks,
        upsample="upsample" in marks,
        classifier="dense" if "dense" in marks else "block",
        non_negative="signed" not in marks,
    )
    probe = probe.clone(training="train" in marks)
    names = [name for name in ("tokens", "cls") if f"in.{name}" in case]
    check_case(probe, case, proto_params, names, tokens_from)

    tokens = tokens_from(*(jnp.asarray(case[f"in.{name}"]) for name in names))
    tokens = less_cls(tokens) if probe.focal else tokens.with_inverse_norms()
    tokens = upsampled(tokens) if probe.upsample else tokens
    bank = jnp.asarray(vectors(case, "w"))
    found = activations(tokens, bank, probe.top_k)
    np.testing.assert_allclose(found, case["mid.activations"], atol=2e-6)


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
    value, gradient = jax.value_and_grad(probe.penalty)(params)
    np.testing.assert_allclose(value, case["xloss"], rtol=1e-5)
    for name, expected in proto_params(case, "gx").items():
        assert_gradient(gradient[name], expected, name)


def test_initial_values_of_proto_are_the_references(key):
    case = read(cases("proto_init.npz")[0])
    classes, per_class = case["last_weight"].shape
    probe = make_probe("proto", num_classes=classes, prototypes_per_class=per_class)
    tokens = tokens_from(np.zeros((1, 256, 1, 1), np.float32))
    params = probe.init(key, tokens)["params"]
    np.testing.assert_array_equal(params["kernel"], case["last_weight"])
    np.testing.assert_array_equal(params["bias"], case["last_bias"])
    bank = params["prototypes"]
    assert 0 <= bank.min() < 0.01
    assert 0.99 < bank.max() < 1
    owners = np.repeat(np.arange(classes), per_class)
    np.testing.assert_array_equal(case["class_identity"], owners)
