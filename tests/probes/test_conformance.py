"""What every probe of the registry promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes.fakes import B, C, L, T, draw
from unmute_jax import distributed
from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import summarise, summarise_layers, without_bands

# A fitted probe has no initial values; its tests are in `test_neighbours`.
TRAINED = [n for n in list_probes() if not make_probe(n, num_classes=1).is_fitted]
# Options that change the network, after the name of their probe.
VARIANTS = ["proto reading=shared", "simpool reading=unprojected"]
VARIANTS += [
    f"{name} layers={layers}"
    for name in ("linear", "mhca", "protobin", "stats")
    for layers in ("0", "-1", "learned", "all")
]
VARIANTS += ["stats per_band=True layers=0"]
every_probe = pytest.mark.parametrize("name", TRAINED + VARIANTS)

# The options with which a probe does not read the class token.
WITHOUT_CLS = {
    "cgp": {"middle": "mean", "num_prototypes": 6},
    "head2toe": {"input": "mean"},
    "linear": {"input": "mean"},
    "linear_cgp": {"input": "mean"},
    "linearc": {"input": "bands"},
    "mlp": {"input": "mean"},
    "simpool": {"query": "mean"},
}


def make(name, without_cls=False):
    name, *texts = name.split()
    options = WITHOUT_CLS.get(name, {}) if without_cls else {}
    given = dict(text.split("=") for text in texts)
    if "per_band" in given:
        given["per_band"] = given["per_band"] == "True"
    return make_probe(name, num_classes=C, **options | given)


@functools.cache
def compiled(name, without_cls=False):
    """`init`, and the logits with the gradient of their squares, of one probe."""
    if without_cls and name.split()[0] not in WITHOUT_CLS:
        return compiled(name)
    probe = make(name, without_cls)

    def loss(variables, x):
        logits = probe.apply(variables, x)
        return jnp.square(logits).sum(), logits

    graded = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def apply(variables, x):
        (_, logits), gradient = graded(variables, x)
        return np.asarray(logits), jax.tree.map(np.asarray, gradient)

    return jax.jit(probe.init), apply


@functools.cache
def start(name, without_cls=False):
    """The initial variables of a probe, and its logits of `draw()`."""
    init, apply = compiled(name, without_cls)
    variables = init(jax.random.key(1), draw())
    return variables, apply(variables, draw())[0]


def rows(x, *chosen):
    return jax.tree.map(lambda a: a[list(chosen)], x)


@every_probe
def test_logits_are_float32_and_finite(name):
    variables, logits = start(name)
    assert set(variables) == {"params"}
    assert logits.shape == (B, C)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


@every_probe
def test_initial_values_follow_the_key(name):
    init, _ = compiled(name)
    one, same, other = (
        jax.tree.map(np.asarray, init(jax.random.key(k), draw())) for k in (1, 1, 2)
    )
    jax.tree.map(np.testing.assert_array_equal, one, same)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        constant = a.size > 1 and a.min() == a.max()  # the scale of a norm, say
        assert constant or (a != b).any()
    assert any(a.min() != a.max() for a in jax.tree.leaves(one))


@every_probe
def test_masked_steps_have_no_influence(name):
    variables, expected = start(name)
    x = draw()
    real = x.mask[:, :, None, None]
    for junk in (np.float32(7), np.float32(1e20)):
        spoilt = x.replace(
            patches=np.where(real, x.patches, junk),
            layers=np.where(real[:, None], x.layers, junk),
        )
        actual, _ = compiled(name)[1](variables, spoilt)
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@every_probe
def test_a_clip_does_not_depend_on_the_other_clips(name):
    variables, together = start(name)
    for chosen in ((2, 2, 0, 3), (3, 0, 1, 1)):
        mixed, _ = compiled(name)[1](variables, rows(draw(), *chosen))
        np.testing.assert_allclose(mixed, together[list(chosen)], atol=1e-6)


@every_probe
def test_gradients_are_finite_even_for_silent_clips(name):
    variables, _ = start(name)
    x = draw()
    x.patches[0], x.layers[0], x.mask[1] = 0, 0, False
    _, gradient = compiled(name)[1](variables, x)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    assert any((g != 0).any() for g in jax.tree.leaves(gradient))


@functools.cache
def summary():
    return summarise(draw())


@every_probe
def test_a_probe_needs_what_it_says_that_it_reads(name):
    variables, expected = start(name)
    probe, x = make(name).fitted_to(L, "the encoder"), draw()
    reading = probe.reads()
    apply = jax.jit(probe.apply)
    if reading.needs_layers:
        for part in ("layers", "layer_cls"):
            with pytest.raises(InputError, match="all_layers"):
                probe.apply(variables, x.replace(**{part: None}))
    if reading.layer is not None:
        actual = apply(variables, x.of_layer(reading.layer))
        with pytest.raises(InputError, match="these are the tokens of layer"):
            probe.apply(variables, x.of_layer(1 - reading.layer))
    elif reading.kind == "layers":
        actual = apply(variables, x.replace(patches=0 * x.patches, cls=0 * x.cls))
    elif reading.kind == "layer_summary":
        actual = apply(variables, without_bands(summarise_layers(x)))
        with pytest.raises(InputError, match="summary of every layer"):
            probe.apply(variables, summary())
    else:
        actual = apply(variables, x if reading.kind == "tokens" else summary())
        # Tokens of another layer are not taken for those of the last one.
        with pytest.raises(InputError, match="reads the last layer"):
            probe.apply(variables, x.of_layer(0))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    if "summary" not in reading.kind:
        with pytest.raises(InputError, match="reads tokens"):
            probe.apply(variables, summary())


@functools.cache
def rounded():
    """Tokens of which bfloat16 is exact, in bfloat16 with norms, and in float32."""
    x = draw()
    x = x.replace(
        patches=x.patches.astype(jnp.bfloat16), layers=x.layers.astype(jnp.bfloat16)
    )
    exact = x.replace(
        patches=x.patches.astype(np.float32), layers=x.layers.astype(np.float32)
    )
    return jax.tree.map(np.asarray, x.with_inverse_norms()), exact


@every_probe
def test_single_clips_in_bfloat16_with_norms_give_the_same(name):
    variables, _ = start(name)
    probe = make(name)
    x, exact = rounded()
    # Probes that do not read the layers take tokens without them.
    if not probe.reads().needs_layers:
        x = x.replace(layers=None, layer_cls=None)
    apply = jax.jit(probe.apply)
    together, _ = compiled(name)[1](variables, exact)
    for i in range(B):
        alone = apply(variables, rows(x, i))
        assert alone.dtype == jnp.float32
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


@every_probe
def test_stacked_trials_and_devices_change_nothing(name, two_devices):
    init, apply = compiled(name)
    probe = make(name)
    alone = [init(jax.random.key(k), draw()) for k in (1, 2)]
    trials = jax.tree.map(lambda *xs: np.stack(xs), *alone)
    mapped = distributed.pmapped(
        lambda v, x: jax.vmap(probe.apply, (0, None))(v, x).swapaxes(0, 1),
        two_devices,
        in_axes=(None, 0),
        out_axes=0,
    )
    together = np.asarray(mapped(trials, draw()))
    for k, variables in enumerate(alone):
        expected, _ = apply(variables, draw())
        np.testing.assert_allclose(together[:, k], expected, atol=1e-6)


@every_probe
def test_frames_treat_each_step_as_a_clip_and_masks_hold(name):
    variables, logits = start(name, without_cls=True)
    probe = make(name, without_cls=True)
    x = draw()
    frames = jax.jit(functools.partial(probe.apply, method="frames"))(variables, x)
    frames = np.asarray(frames)
    assert frames.shape == (B, T, C)
    assert np.isfinite(frames).all()
    if name == "conv":
        # A step also reads its neighbours; a clip has the mean of its steps.
        means = [f[real].mean(0) for f, real in zip(frames, x.mask, strict=True)]
        np.testing.assert_allclose(means, logits, atol=1e-5)
        return
    # Clips of which only the step 0 is real, or 1.
    for step, clips in ((0, [0, 1, 2, 3]), (1, [0, 1, 2])):
        alone = x.replace(mask=np.arange(T)[None] == np.full((B, 1), step))
        logits, _ = compiled(name, without_cls=True)[1](variables, alone)
        np.testing.assert_allclose(frames[clips, step], logits[clips], atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "mlp", "linearc", "cgp", "head2toe"])
def test_frames_refuse_the_class_token(name):
    variables, _ = start(name)
    probe = make(name)
    with pytest.raises(InputError, match=r"reads the class token .* one per clip"):
        probe.apply(variables, draw(), method="frames")
