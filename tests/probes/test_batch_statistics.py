"""BatchNorm by its statistics: running ones, batch ones, masked steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import draw_small, shorten
from tests.probes.golden import (
    HEADS,
    as_float32,
    cases,
    check_case,
    mhca_params,
    read,
    stem,
    tokens_from,
)
from tests.probes.test_attention import ep_params
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe


def running(case, when, layer):
    """The running statistics of a BatchNorm of the reference as ours."""
    return {
        "batch_norm": {
            "mean": case[f"buf_{when}.{layer}.running_mean"],
            "var": case[f"buf_{when}.{layer}.running_var"],
        }
    }


def check_batch_norm(probe, case, params, layer):
    before = {"batch_stats": as_float32(running(case, "before", layer))}
    check_case(probe, case, params, ["tokens"], tokens_from, before)
    # A mean can be near zero, and float32 then has few of its digits.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        weights, tokens, before, after = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64),
            (
                params(case, "w"),
                case["in.tokens"],
                running(case, "before", layer),
                running(case, "after", layer),
            ),
        )
        variables = {"params": weights, "batch_stats": before}
        apply = jax.jit(functools.partial(probe.apply, mutable=["batch_stats"]))
        _, changed = apply(variables, tokens_from(tokens))
        for name, value in changed["batch_stats"]["batch_norm"].items():
            assert value.dtype == np.float64
            np.testing.assert_allclose(value, after["batch_norm"][name], rtol=1e-5)


@pytest.mark.parametrize("path", cases("aim_mhca_bn_*.npz"), ids=stem)
def test_mhca_with_batch_norm_equals_the_reference(path):
    case = read(path)
    probe = make_probe(
        "mhca", num_classes=case["out"].shape[1], num_heads=HEADS, batch_norm=True
    )
    probe = probe.clone(training=path.stem.endswith("train"))
    check_batch_norm(probe, case, mhca_params, "bn")


def test_ep_with_batch_norm_equals_the_reference():
    case = read(cases("ep_full_head_train.npz")[0])
    probe = make_probe(
        "ep",
        num_classes=len(case["w.2.bias"]),
        num_queries=case["w.0.cls_token"].shape[1],
        batch_norm=True,
    )

    def params(case, kind):
        return ep_params(case, kind, "0.", "2")

    check_batch_norm(probe.clone(training=True), case, params, "1")


def test_batch_norm_needs_its_statistics(key):
    x = draw_small()
    probe = make_probe("mhca", num_classes=2, num_heads=5, batch_norm=True)
    variables = jax.jit(probe.init)(key, x)
    with pytest.raises(InputError, match="batch_stats"):
        probe.apply({"params": variables["params"]}, x)
    # The initial running statistics are those of normalised tokens.
    plain = make_probe("mhca", num_classes=2, num_heads=5)
    expected = jax.jit(plain.apply)({"params": variables["params"]}, x)
    actual = jax.jit(probe.apply)(variables, x)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_batch_norm_ignores_masked_steps(key):
    x = draw_small()
    probe = make_probe("mhca", num_classes=2, num_heads=5, batch_norm=True)
    probe = probe.clone(training=True)
    variables = jax.jit(probe.init)(key, x)
    apply = jax.jit(lambda v, x: probe.apply(v, x, mutable=["batch_stats"]))
    actual, expected = (apply(variables, given) for given in (x, shorten(x)))
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-6), actual, expected
    )
