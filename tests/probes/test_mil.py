"""Attention-based multiple-instance pooling against the reference."""

import jax
import numpy as np
import pytest

from tests.probes.golden import (
    affine,
    as_float32,
    cases,
    check_case,
    identity_head,
    read,
    stem,
    tokens_from,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.base import flatten_tokens


@pytest.mark.parametrize("path", cases("abmilp_*.npz"), ids=stem)
def test_abmilp_equals_the_reference(path):
    case = read(path)
    self_attention = {"samap": "scores", "saboth": "both"}
    _, activation, _, variant = path.stem.split("_")
    layers = sum(k.startswith("w.attention_predictor") for k in case) // 2
    names = [*(f"hidden_{i}" for i in range(layers - 1)), "score"]

    def params(case, kind):
        params = {
            # Every second module of the reference is the activation.
            name: affine(case, f"{kind}.attention_predictor.{2 * i}")
            for i, name in enumerate(names)
        }
        if variant in self_attention:
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
        self_attention=self_attention.get(variant, "none"),
    )
    check_case(probe, case, params, ["tokens"], tokens_from)
    if variant == "patch":
        given = as_float32(params(case, "w"))
        layers = [given[name] for name in names]
        weights = jax.jit(jax.vmap(lambda x, real: probe.weights(x, real, layers)))
        actual = weights(*flatten_tokens(tokens_from(case["in.tokens"])))
        np.testing.assert_allclose(actual, case["mid.attn"][:, :, 0], rtol=1e-5)
