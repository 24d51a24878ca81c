"""Attentive pooling against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import silence
from tests.probes.golden import (
    HEADS,
    affine,
    cases,
    check_case,
    check_equation,
    identity_head,
    mhca_params,
    norm,
    read,
    stem,
    tokens_from,
)
from unmute_jax.probes import make_probe
from unmute_jax.tokens import Tokens


def input_names(case):
    """The inputs of a case, in the order of `tokens_from`."""
    return [name for name in ("tokens", "cls") if f"in.{name}" in case]


@pytest.mark.parametrize("path", cases("mhca_nobn_*.npz"), ids=stem)
def test_mhca_equals_the_reference(path):
    case = read(path)
    pool, head = ("pool.", "head") if "w.head.weight" in case else ("", "")
    probe = make_probe(
        "mhca",
        num_classes=case["out"].shape[1],
        num_heads=HEADS,
        num_queries=case[f"w.{pool}cls_token"].shape[1],
    )

    def params(case, kind):
        return mhca_params(case, kind, pool, head)

    check_case(probe, case, params, input_names(case), tokens_from)


def ep_params(case, kind, pool="", head=""):
    params = {
        "queries": case[f"{kind}.{pool}cls_token"][0],
        "value": case[f"{kind}.{pool}v.weight"].T,
    }
    if head:
        params["classifier"] = affine(case, f"{kind}.{head}")
    elif kind == "w":
        params["classifier"] = identity_head(params["value"].shape[1])
    return params


@pytest.mark.parametrize("path", cases("ep_q*.npz"), ids=stem)
def test_ep_equals_the_reference(path):
    case = read(path)
    width, d = case["w.v.weight"].shape
    probe = make_probe(
        "ep",
        num_classes=width,
        num_queries=case["w.cls_token"].shape[1],
        reduction=d // width,
    )
    check_case(probe, case, ep_params, ["tokens"], tokens_from)


def simpool_params(case, kind):
    params = norm(case, f"{kind}.norm_patches")
    if f"{kind}.wq.weight" in case:
        params["query_map"] = case[f"{kind}.wq.weight"].T
        params["key"] = case[f"{kind}.wk.weight"].T
    if kind == "w":
        params["classifier"] = identity_head(case["out"].shape[1])
    return params


@pytest.mark.parametrize("path", cases("simpool*.npz"), ids=stem)
def test_simpool_equals_the_reference(path):
    case = read(path)
    # No array shows it; the name does.
    _, _, gamma = path.stem.partition("gamma")
    probe = make_probe(
        "simpool",
        num_classes=case["out"].shape[1],
        query="cls" if "in.cls" in case else "mean",
        gamma=int(gamma) / 100 if gamma else 1.0,
    )
    check_case(probe, case, simpool_params, input_names(case), tokens_from)


def test_simpool_without_projections_is_its_equation():
    rng = np.random.default_rng(0)
    d = 6
    params = {
        "scale": rng.normal(1, 0.3, d),
        "bias": rng.normal(0, 0.3, d),
        "classifier": {"kernel": rng.normal(size=(d, 3)), "bias": rng.normal(size=3)},
    }

    def equation(params, tokens):
        centred = tokens - tokens.mean(-1, keepdims=True)
        normalised = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-6)
        normalised = normalised * params["scale"] + params["bias"]
        query = normalised.mean(1)
        scores = np.exp(np.einsum("bd,bnd->bn", query, normalised) / np.sqrt(d))
        weights = scores / scores.sum(1, keepdims=True)
        pooled = np.einsum("bn,bnd->bd", weights, normalised)
        last = params["classifier"]
        return pooled @ last["kernel"] + last["bias"]

    probe = make_probe("simpool", num_classes=3, reading="unprojected")
    tokens = rng.normal(0.5, 2, (3, 2, 2, d))
    check_equation(probe, equation, params, tokens)


def test_esimpool_equals_the_reference():
    case = read(cases("esimpool.npz")[0])
    probe = make_probe("esimpool", num_classes=case["out"].shape[1], num_heads=HEADS)
    check_case(probe, case, simpool_params, ["tokens"], tokens_from)


def test_attention_keeps_no_keys_or_values_of_tokens():
    b, n, d = 64, 128, 96
    probe = make_probe("mhca", num_classes=2)

    def gradient(params, patches):
        x = Tokens(patches, jnp.zeros((b, d)), jnp.ones((b, n), bool))
        return jax.grad(lambda p: probe.apply({"params": p}, x).sum())(params)

    patches = jnp.zeros((b, n, 1, d))
    params = jax.eval_shape(probe.init, jax.random.key(0), silence(d))["params"]
    compiled = jax.jit(gradient).lower(params, patches).compile()
    memory = compiled.memory_analysis().temp_size_in_bytes
    assert memory < 2 * 4 * b * n * d  # keys, values and their cotangents take 4 times
