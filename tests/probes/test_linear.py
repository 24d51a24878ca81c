"""Probes of fixed statistics: against the reference and against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import draw_small, init_and_apply
from tests.probes.golden import affine, cases, check_case, norm, read, stem, tokens_from
from unmute_jax.probes import make_probe
from unmute_jax.tokens import summarise


def linear_params(case, kind):
    return {
        "norm": norm(case, f"{kind}.ln"),
        "classifier": affine(case, f"{kind}.fc"),
    }


@pytest.mark.parametrize("path", cases("bat_linear_[cg][la][sp]*.npz"), ids=stem)
def test_normalised_linear_equals_the_reference(path):
    case = read(path)
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
    check_case(probe, case, linear_params, [given], last[given])


def features_of(name, options):
    """What the affine map of a probe reads, from a summary."""
    if name == "linear":
        return lambda s: getattr(s, options["input"])
    if options.get("per_band"):
        parts = ("band_mean", "band_max", "band_std")
        return lambda s: np.stack([getattr(s, p) for p in parts], 1).reshape(3, -1)
    if name == "stats":
        return lambda s: np.concatenate([s.mean, s.max, s.std], 1)
    if "bands" in options.values():
        return lambda s: s.band_mean.reshape(3, -1)
    return lambda s: np.concatenate([s.cls, s.mean], 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear", {"input": "cls"}),
        ("linear", {"input": "mean"}),
        ("linearc", {}),
        ("linearc", {"input": "bands"}),
        ("linpre", {"reading": "bands"}),
        ("stats", {}),
        ("stats", {"per_band": True}),
    ],
)
def test_affine_maps_read_their_statistics(name, options):
    x = draw_small()
    variables, logits = init_and_apply(make_probe(name, num_classes=2, **options), x)
    layer = jax.tree.map(np.asarray, variables["params"]["classifier"])
    summary = jax.tree.map(np.asarray, summarise(x))
    expected = features_of(name, options)(summary) @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_mlp_is_an_affine_map_of_hidden_layers():
    x = draw_small()
    probe = make_probe(
        "mlp", num_classes=2, input="mean", hidden_layers=2, width=7, activation="tanh"
    )
    variables, logits = init_and_apply(probe, x)
    params = jax.tree.map(np.asarray, variables["params"])
    h = np.asarray(summarise(x).mean)
    assert set(params) == {"hidden_0", "hidden_1", "classifier"}
    for name in ("hidden_0", "hidden_1"):
        h = np.tanh(h @ params[name]["kernel"] + params[name]["bias"])
    expected = h @ params["classifier"]["kernel"] + params["classifier"]["bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-6)
