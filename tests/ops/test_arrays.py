"""The array type, and the constant that guards norms."""

import jax.numpy as jnp
import numpy as np

from unmute_jax.ops import NORM_EPS, Arr
from unmute_jax.tokens import inverse_norms


def test_arrays_of_the_host_and_of_devices_are_accepted():
    assert isinstance(np.zeros(3), Arr)
    assert isinstance(jnp.zeros(3), Arr)
    assert not isinstance([0.0], Arr)


def test_the_square_of_the_guard_does_not_vanish_in_float32():
    # Norms are guarded before the root: sqrt(max(|x|^2, eps^2)).
    assert np.float32(NORM_EPS**2) > np.finfo(np.float32).tiny
    np.testing.assert_allclose(inverse_norms(np.zeros(3, np.float32)), 1 / NORM_EPS)
