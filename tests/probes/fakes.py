"""Random tokens for the tests of the probes."""

import jax
import jax.numpy as jnp
import numpy as np

from unmute_jax.tokens import Tokens

# The width is a multiple of all numbers of heads and queries.
B, L, T, F, D, C = 4, 2, 5, 3, 96, 3


def draw(lengths=(T, 2, 4, 1), t=T, f=F, d=D, seed=0):
    """One clip of normally distributed tokens and layers per length, in NumPy."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal((len(lengths), *shape), np.float32)

    return Tokens(
        patches=normal(t, f, d),
        cls=normal(d),
        mask=np.arange(t)[None] < np.asarray(lengths)[:, None],
        layers=normal(L, t, f, d),
        layer_cls=normal(L, d),
    )


def draw_small():
    """Three clips of which two of four steps are real, in JAX."""
    x = draw((2, 2, 2), t=4, f=2, d=5)
    return jax.tree.map(jnp.asarray, x.replace(layers=None, layer_cls=None))


def shorten(x):
    """The clips of `draw_small` without their masked steps."""
    return x.replace(patches=x.patches[:, :2], mask=x.mask[:, :2])


def silence(features, bands=1, layers=None):
    """One clip of one time step with tokens that are zero."""
    x = Tokens(
        patches=jnp.zeros((1, 1, bands, features)),
        cls=jnp.zeros((1, features)),
        mask=jnp.ones((1, 1), bool),
    )
    if layers is None:
        return x
    return x.replace(
        layers=jnp.zeros((1, layers, 1, bands, features)),
        layer_cls=jnp.zeros((1, layers, features)),
    )


def init_and_apply(probe, x, seed=0):
    """The first variables of a probe and its logits, compiled as one program."""
    logits, variables = jax.jit(probe.init_with_output)(jax.random.key(seed), x)
    return variables, logits
