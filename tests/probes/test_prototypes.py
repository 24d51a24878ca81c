"""Prototypes without classes against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import draw_small, silence
from tests.probes.golden import (
    affine,
    cases,
    check_case,
    number_after,
    protobin_params,
    read,
    stem,
    tokens_from,
    vectors,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.prototypes import best_matches, sign
from unmute_jax.tokens import Tokens


@pytest.mark.parametrize("path", cases("bat_protobin_[ce][ld][ig]*.npz"), ids=stem)
def test_protobin_equals_the_reference(path):
    case = read(path)
    classes, p = case["w.fc.weight"].shape
    probe = make_probe(
        "protobin", num_classes=classes, prototypes_per_class=p // classes
    )
    check_case(probe, case, protobin_params, ["tokens"], tokens_from)


@pytest.mark.parametrize("path", cases("bat_protobin_*.npz"), ids=stem)
def test_sign_and_similarities_equal_the_reference(path):
    case = read(path)

    @jax.jit
    def compare(prototypes, x):
        bank = sign(prototypes)
        tokens = tokens_from(x).with_inverse_norms()
        return bank, best_matches(tokens, bank, binary=True)

    bank, best = compare(vectors(case, "w"), case["in.tokens"])
    np.testing.assert_array_equal(bank, case["mid.proto_sign"][..., 0, 0])
    np.testing.assert_allclose(best, case["mid.sim"].max((2, 3)), atol=2e-6)


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
        top_k=number_after(path, "k", 1),
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


def test_initial_values_are_the_papers(key):
    probe = make_probe("protobin", num_classes=10)
    params = jax.tree.map(np.asarray, jax.jit(probe.init)(key, silence(64))["params"])
    assert set(params) == {"prototypes", "classifier"}
    assert params["prototypes"].shape == (200, 64)
    np.testing.assert_allclose(params["prototypes"].std(), 0.02, rtol=0.05)
    bound = 200**-0.5
    for leaf in jax.tree.leaves(params["classifier"]):
        assert np.abs(leaf).max() <= bound
    np.testing.assert_allclose(
        params["classifier"]["kernel"].std(), bound / 3**0.5, rtol=0.05
    )
    assert params["classifier"]["bias"].any()


@pytest.mark.parametrize("name", ["proto", "protofloat"])
def test_top_k_counts_in_training_only_and_is_limited_by_the_clip(key, name):
    x = draw_small()
    four, many, one = (
        make_probe(name, num_classes=2, prototypes_per_class=3, top_k=k)
        for k in (4, 99, 1)
    )
    variables = jax.jit(four.init)(key, x)

    @jax.jit
    def compute(variables, x):
        training = [p.clone(training=True) for p in (four, many)]
        return [p.apply(variables, x) for p in (one, four, *training)]

    expected, evaluated, averaged, limited = map(np.asarray, compute(variables, x))
    np.testing.assert_array_equal(evaluated, expected)
    assert (np.abs(averaged - expected) > 1e-3).any()
    # Four positions are real: there are no more to average.
    np.testing.assert_allclose(limited, averaged, atol=1e-6)


def test_only_the_signs_of_binary_prototypes_count(key):
    x = Tokens(
        patches=jax.random.normal(key, (2, 3, 2, 8)),
        cls=jnp.zeros((2, 8)),
        mask=jnp.ones((2, 3), bool),
    )
    probe = make_probe("protobin", num_classes=2, prototypes_per_class=2)
    variables = jax.jit(probe.init)(key, x)
    params = variables["params"]
    scaled = {"params": params | {"prototypes": 1e3 * params["prototypes"]}}
    apply = jax.jit(probe.apply)
    np.testing.assert_array_equal(apply(variables, x), apply(scaled, x))
