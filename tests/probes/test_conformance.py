"""What every probe of the registry promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import Tokens, summarise

# The width is a multiple of all numbers of heads and queries.
B, L, T, F, D, C = 4, 2, 5, 3, 96, 3

# What is fitted has no first values to look at.
TRAINED = [n for n in list_probes() if not make_probe(n, num_classes=1).is_fitted]
every_probe = pytest.mark.parametrize("name", TRAINED)


def draw(seed=0, clips=B):
    keys = jax.random.split(jax.random.key(seed), 4)
    steps = jnp.arange(T)[None] < jnp.array([T, 2, 4, 1])[:clips, None]
    return Tokens(
        patches=jax.random.normal(keys[0], (clips, T, F, D)),
        cls=jax.random.normal(keys[1], (clips, D)),
        mask=steps,
        layers=jax.random.normal(keys[2], (clips, L, T, F, D)),
        layer_cls=jax.random.normal(keys[3], (clips, L, D)),
    )


def spoil(x, junk):
    """`x` with `junk` in all masked steps."""
    real = x.mask[:, :, None, None]
    return x.replace(
        patches=jnp.where(real, x.patches, junk),
        layers=jnp.where(real[:, None], x.layers, junk),
    )


@functools.cache
def compiled(name):
    """`apply` and `init`, compiled once for all tests."""
    probe = make_probe(name, num_classes=C)
    return jax.jit(probe.apply), jax.jit(probe.init)


def start(name, x):
    """The compiled probe and its first variables."""
    apply, init = compiled(name)
    return apply, init(jax.random.key(1), x)


@every_probe
def test_logits_are_float32_and_finite(name):
    x = draw()
    apply, variables = start(name, x)
    assert set(variables) == {"params"}
    logits = apply(variables, x)
    assert logits.shape == (B, C)
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()


@every_probe
def test_initial_values_follow_the_key(name):
    x = draw()
    _, init = compiled(name)
    one, same, other = (init(jax.random.key(k), x) for k in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        constant = a.size > 1 and a.min() == a.max()  # the scale of a norm, say
        assert constant or (a != b).any()
    assert any(a.min() != a.max() for a in jax.tree.leaves(one))


@every_probe
def test_masked_steps_have_no_influence(name):
    x = draw()
    apply, variables = start(name, x)
    expected = apply(variables, x)
    for junk in (7.0, 1e20):
        actual = apply(variables, spoil(x, junk))
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@every_probe
def test_a_clip_does_not_depend_on_its_batch(name):
    x = draw()
    apply, variables = start(name, x)
    together = apply(variables, x)
    for i in range(B):
        alone = apply(variables, jax.tree.map(lambda a, i=i: a[i : i + 1], x))
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


@every_probe
def test_gradients_are_finite_even_for_silent_clips(name):
    x = draw()
    x = x.replace(
        patches=x.patches.at[0].set(0.0),
        layers=x.layers.at[0].set(0.0),
        mask=x.mask.at[1].set(False),
    )
    apply, variables = start(name, x)
    grads = jax.grad(lambda v: jnp.square(apply(v, x)).sum())(variables)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert any((g != 0).any() for g in jax.tree.leaves(grads))


@every_probe
def test_reads_what_it_says(name):
    x = draw()
    apply, variables = start(name, x)
    expected = apply(variables, x)
    input_kind = make_probe(name, num_classes=C).input_kind
    if input_kind != "layers":
        last = x.replace(layers=None, layer_cls=None)
        np.testing.assert_allclose(apply(variables, last), expected, atol=1e-6)
    else:
        for part in ("layers", "layer_cls"):
            with pytest.raises(InputError, match="all_layers"):
                apply(variables, x.replace(**{part: None}))
    if input_kind == "summary":
        actual = apply(variables, summarise(x))
        np.testing.assert_allclose(actual, expected, atol=1e-6)
    else:
        actual = apply(variables, x.with_inverse_norms())
        np.testing.assert_allclose(actual, expected, atol=1e-6)
        with pytest.raises(InputError, match="reads tokens"):
            apply(variables, summarise(x))


@every_probe
def test_bfloat16_tokens_are_accepted(name):
    x = draw()
    x = x.replace(
        patches=x.patches.astype(jnp.bfloat16), layers=x.layers.astype(jnp.bfloat16)
    )
    apply, variables = start(name, x)
    exact = x.replace(
        patches=x.patches.astype(jnp.float32), layers=x.layers.astype(jnp.float32)
    )
    actual = apply(variables, x)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, apply(variables, exact), atol=1e-6)


@every_probe
def test_trials_and_devices_change_nothing(name):
    x = draw()
    probe = make_probe(name, num_classes=C)
    keys = jax.random.split(jax.random.key(3), 2)
    trials = jax.jit(jax.vmap(probe.init, (0, None)))(keys, x)
    many = jax.jit(jax.vmap(probe.apply, (0, None)))
    together = many(trials, x)
    mapped = distributed.pmapped(
        lambda v, x: jax.vmap(probe.apply, (0, None))(v, x).swapaxes(0, 1),
        distributed.make_mesh(2),
        in_axes=(None, 0),
        out_axes=0,
    )
    np.testing.assert_allclose(mapped(trials, x).swapaxes(0, 1), together, atol=1e-6)
    for i in range(2):
        alone = compiled(name)[0](jax.tree.map(lambda a, i=i: a[i], trials), x)
        np.testing.assert_allclose(alone, together[i], atol=1e-6)
