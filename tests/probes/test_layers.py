"""Probes of all layers against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import draw
from tests.probes.golden import (
    affine,
    as_float32,
    cases,
    check_case,
    layers_from,
    norm,
    read,
    stem,
    vectors,
)
from unmute_jax.probes import make_probe


def clip_cases(pattern):
    """The cases with logits per clip."""
    return [path for path in cases(pattern) if not path.stem.endswith("frame")]


def layer_inputs(case):
    """Names of the inputs, and from them to tokens with layers."""
    names = [name for name in ("patch_tokens", "cls_tokens") if f"in.{name}" in case]
    if names == ["cls_tokens"]:
        return names, lambda cls: layers_from(cls=cls)
    return names, layers_from


def cgp_params(case, kind):
    return {
        "gates": case[f"{kind}.block_attention"],
        "prototypes": vectors(case, kind),
        "classifier": affine(case, f"{kind}.fc"),
    }


@pytest.mark.parametrize("path", clip_cases("bat_cgp_*.npz"), ids=stem)
def test_cgp_equals_the_reference(path):
    case = read(path)
    names, to_tokens = layer_inputs(case)
    probe = make_probe(
        "cgp",
        num_classes=case["out"].shape[1],
        num_prototypes=len(vectors(case, "w")),
        middle="cls" if "cls_tokens" in names else "mean",
    )
    check_case(probe, case, cgp_params, names, to_tokens)
    share = jax.nn.softmax(jnp.asarray(case["w.block_attention"]))
    np.testing.assert_allclose(share, case["mid.alpha"], rtol=1e-6)


def linear_cgp_params(case, kind):
    return {
        "gates": case[f"{kind}.block_attention"],
        "norm": norm(case, f"{kind}.ln"),
        "classifier": affine(case, f"{kind}.fc"),
    }


@pytest.mark.parametrize("path", clip_cases("bat_linear_cgp_*.npz"), ids=stem)
def test_linear_cgp_equals_the_reference(path):
    case = read(path)
    names, to_tokens = layer_inputs(case)
    probe = make_probe(
        "linear_cgp",
        num_classes=case["out"].shape[1],
        input="cls" if "cls_tokens" in names else "mean",
    )
    check_case(probe, case, linear_cgp_params, names, to_tokens)


def layers_of(case):
    (name,) = layer_inputs(case)[0]
    return len(case[f"in.{name}"])


def head2toe_params(case, kind):
    c, width = case[f"{kind}.fc.weight"].shape
    layers = layers_of(case)
    return {
        "norm": norm(case, f"{kind}.ln"),
        "kernel": case[f"{kind}.fc.weight"].T.reshape(layers, width // layers, c),
        "bias": case[f"{kind}.fc.bias"],
    }


@pytest.mark.parametrize("path", clip_cases("bat_h2t_*.npz"), ids=stem)
def test_head2toe_equals_the_reference(path):
    case = read(path)
    names, to_tokens = layer_inputs(case)
    probe = make_probe(
        "head2toe",
        num_classes=case["out"].shape[1],
        input="cls" if "cls_tokens" in names else "mean",
    )
    check_case(probe, case, head2toe_params, names, to_tokens)


@pytest.mark.parametrize("path", cases("bat_h2t_*.npz"), ids=stem)
def test_group_lasso_equals_the_reference(path):
    case = read(path)
    probe = make_probe(
        "head2toe",
        num_classes=len(case["w.fc.bias"]),
        group="layer" if path.stem.endswith("layerlasso") else "feature",
        penalty_weight=1.0,
    )
    params = as_float32(head2toe_params(case, "w"))
    value, gradient = jax.jit(jax.value_and_grad(probe.penalty))(params)
    np.testing.assert_allclose(value, case["xloss"], rtol=1e-6)
    expected = head2toe_params(case, "gx")
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-7),
        gradient,
        expected,
    )


def test_a_group_at_zero_has_a_finite_gradient(key):
    probe = make_probe("head2toe", num_classes=2)
    params = jax.jit(probe.init)(key, draw())["params"]
    params["kernel"] = params["kernel"].at[0, 1].set(0.0)
    gradient = np.asarray(jax.jit(jax.grad(probe.penalty))(params)["kernel"])
    assert np.isfinite(gradient).all()
    assert (gradient[0, 1] == 0).all()
