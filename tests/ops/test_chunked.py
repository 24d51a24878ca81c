"""Functions applied to a batch in chunks."""

import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import map_in_chunks


@pytest.mark.parametrize("b", [1, 2, 5])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 9])
def test_chunks_change_nothing(b, size):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((b, 3), np.float32))
    sizes = set()

    def double(params, x, extra):
        assert extra is None
        sizes.add(len(x))
        return [x * params, x.sum(1)]

    got = map_in_chunks(double, 2.0, (x, None), size=size)
    np.testing.assert_array_equal(got[0], 2 * x)
    np.testing.assert_allclose(got[1], x.sum(1), atol=1e-6)
    assert max(sizes) <= max(1, size)
