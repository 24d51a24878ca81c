"""Attentive pooling against the reference implementations."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.golden import (
    affine,
    as_float32,
    cases,
    check_case,
    identity_head,
    mhca_params,
    norm,
    read,
    stem,
    tokens_from,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.base import real_positions

# The reference values were made with this many heads; no array shows it.
HEADS = 4


def tokens_alone(case):
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

    check_case(probe, case, params, tokens_alone(case), tokens_from)


def running(case, when, layer):
    """The running statistics of a BatchNorm as ours."""
    return {
        "batch_norm": {
            "mean": jnp.asarray(case[f"buf_{when}.{layer}.running_mean"], jnp.float32),
            "var": jnp.asarray(case[f"buf_{when}.{layer}.running_var"], jnp.float32),
        }
    }


def check_batch_norm(probe, case, params, layer):
    before, after = (running(case, when, layer) for when in ("before", "after"))
    changed = check_case(
        probe, case, params, ["tokens"], tokens_from, {"batch_stats": before}
    )
    for name, value in changed["batch_stats"]["batch_norm"].items():
        np.testing.assert_allclose(value, after["batch_norm"][name], rtol=1e-5)


@pytest.mark.parametrize("path", cases("aim_mhca_bn_*.npz"), ids=stem)
def test_mhca_with_batch_norm_equals_the_reference(path):
    case = read(path)
    probe = make_probe(
        "mhca", num_classes=case["out"].shape[1], num_heads=HEADS, batch_norm=True
    )
    probe = probe.clone(training=path.stem.endswith("train"))
    check_batch_norm(probe, case, mhca_params, "bn")


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
    check_case(probe, case, simpool_params, tokens_alone(case), tokens_from)


def test_esimpool_equals_the_reference():
    case = read(cases("esimpool.npz")[0])
    probe = make_probe("esimpool", num_classes=case["out"].shape[1], num_heads=HEADS)
    check_case(probe, case, simpool_params, ["tokens"], tokens_from)


@pytest.mark.parametrize("path", cases("abmilp_*.npz"), ids=stem)
def test_abmilp_equals_the_reference(path):
    case = read(path)
    reach = {"samap": "scores", "saboth": "both"}
    _, activation, _, variant = path.stem.split("_")
    layers = sum(k.startswith("w.attention_predictor") for k in case) // 2
    names = [*(f"hidden_{i}" for i in range(layers - 1)), "score"]

    def params(case, kind):
        params = {
            # Every second module of the reference is the activation.
            name: affine(case, f"{kind}.attention_predictor.{2 * i}")
            for i, name in enumerate(names)
        }
        if variant in reach:
            params["qkv"] = case[f"{kind}.self_attn.qkv.weight"].T
            params["project"] = affine(case, f"{kind}.self_attn.proj")
        if kind == "w":
            params["classifier"] = identity_head(case["out"].shape[1])
        return params

    probe = make_probe(
        "abmilp",
        num_classes=case["out"].shape[1],
        depth=layers,
        activation=activation,
        self_attention=reach.get(variant, "none"),
    )
    check_case(probe, case, params, ["tokens"], tokens_from)
    if variant == "patch":
        given = as_float32(params(case, "w"))
        tokens, mask = real_positions(tokens_from(case["in.tokens"]))
        layers = [given[name] for name in names]
        for i in range(len(tokens)):
            weights = probe.weights(tokens[i], mask[i], layers)
            np.testing.assert_allclose(weights, case["mid.attn"][i, :, 0], rtol=1e-5)
