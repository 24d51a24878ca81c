"""Baselines on the token map against their definition."""

import jax
import numpy as np
import pytest

from tests.probes.fakes import draw_small, init_and_apply
from unmute_jax.probes import make_probe


def test_linpre_is_the_largest_logit_of_a_token():
    x = draw_small()
    variables, actual = init_and_apply(make_probe("linpre", num_classes=2), x)
    layer = jax.tree.map(np.asarray, variables["params"])
    logits = np.asarray(x.patches)[:, :2] @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(actual, logits.max((1, 2)), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_conv_reads_zeros_at_masked_steps(pooling):
    x = draw_small()
    probe = make_probe("conv", num_classes=2, width=6, pooling=pooling)
    variables, actual = init_and_apply(probe, x)
    params = jax.tree.map(np.asarray, variables["params"])
    head = params["classifier"]
    padded = np.pad(np.asarray(x.patches)[:, :2], ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = np.zeros((3, 2, 2, 6))
    for t, f in np.ndindex(2, 2):
        window = padded[:, t : t + 3, f : f + 3]
        h[:, t, f] = np.einsum("btfd,tfdx->bx", window, params["conv_kernel"])
    pooled = getattr(np.maximum(h + params["conv_bias"], 0), pooling)((1, 2))
    expected = pooled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
