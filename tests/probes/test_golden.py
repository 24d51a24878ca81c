"""Probes, losses and training against the reference implementations."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.golden import (
    affine,
    cases,
    check_case,
    norm,
    protobin_params,
    read,
    stem,
    tokens_from,
    vectors,
)
from unmute_jax.probes import make_probe
from unmute_jax.probes.prototypes import best_matches, sign


@pytest.mark.parametrize("path", cases("bat_linear_[cg][la][sp]*.npz"), ids=stem)
def test_normalised_linear_equals_the_reference(path):
    case = read(path)

    def params(case, kind):
        return {
            "norm": norm(case, f"{kind}.ln"),
            "classifier": affine(case, f"{kind}.fc"),
        }

    (given,) = (name for name in ("cls_tokens", "patch_tokens") if f"in.{name}" in case)
    last = {
        "cls_tokens": lambda x: tokens_from(jnp.zeros((*x.shape[1:], 1, 1)), x[-1]),
        "patch_tokens": lambda x: tokens_from(x[-1]),
    }
    probe = make_probe(
        "linear",
        num_classes=len(case["w.fc.bias"]),
        normalise=True,
        input="cls" if given == "cls_tokens" else "mean",
    )
    check_case(probe, case, params, [given], last[given])


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
    bank = sign(jnp.asarray(vectors(case, "w")))
    np.testing.assert_array_equal(bank, case["mid.proto_sign"][..., 0, 0])
    tokens = tokens_from(case["in.tokens"]).with_inverse_norms()
    best = best_matches(tokens, bank, binary=True)
    np.testing.assert_allclose(best, case["mid.sim"].max((2, 3)), atol=2e-6)
