"""Sizes, initial values and options of single probes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import Tokens, summarise


def silence(features, clips=1, bands=1):
    return Tokens(
        patches=jnp.zeros((clips, 1, bands, features)),
        cls=jnp.zeros((clips, features)),
        mask=jnp.ones((clips, 1), bool),
    )


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("linear", {}, 7_690),
        ("linear", {"input": "mean"}, 7_690),
        ("mlp", {}, 598_282),
        ("linearc", {}, 15_370),
        ("mhca", {}, 1_188_106),
        ("mhca", {"num_heads": 16, "batch_norm": True}, 1_188_106),
        ("ep", {}, 622_090),
        ("simpool", {}, 1_188_874),
        ("abmilp", {}, 599_051),
        ("linpre", {}, 7_690),
        ("stats", {}, 23_050),
        ("proto", {}, 153_810),
        ("protofloat", {}, 155_610),
        ("protofloat", {"classifier": "block"}, 153_810),
        ("protobin", {}, 155_610),
        ("protobin", {"prototypes_per_class": 1}, 7_790),
    ],
)
def test_parameter_counts_are_the_papers(name, options, count):
    assert parameters(name, silence(768), **options) == count


def parameters(name, tokens, **options):
    probe = make_probe(name, num_classes=10, **options)
    variables = jax.eval_shape(probe.init, jax.random.key(0), tokens)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("name", ["linpre", "linearc"])
def test_joined_bands_have_the_count_of_eight_bands(name):
    option = {"linpre": "reading", "linearc": "input"}[name]
    assert parameters(name, silence(768, bands=8), **{option: "bands"}) == 61_450


def test_initial_values_are_the_papers(key):
    probe = make_probe("protobin", num_classes=10)
    params = jax.jit(probe.init)(key, silence(64))["params"]
    assert set(params) == {"prototypes", "classifier"}
    assert params["prototypes"].shape == (200, 64)
    np.testing.assert_allclose(params["prototypes"].std(), 0.02, rtol=0.05)
    for leaf in jax.tree.leaves(params["classifier"]):
        bound = 200**-0.5
        assert np.abs(leaf).max() <= bound
    np.testing.assert_allclose(
        params["classifier"]["kernel"].std(), bound / 3**0.5, rtol=0.05
    )
    assert params["classifier"]["bias"].any()


def draw(key):
    """Three clips of which two of four steps are real."""
    keys = jax.random.split(key, 2)
    return Tokens(
        patches=jax.random.normal(keys[0], (3, 4, 2, 5)),
        cls=jax.random.normal(keys[1], (3, 5)),
        mask=jnp.array([[True, True, False, False]] * 3),
    )


def test_affine_maps_read_their_statistics(key):
    x = draw(key)
    s = summarise(x)
    bands = [s.band_mean, s.band_max, s.band_std]
    by_band = s.band_mean.reshape(3, -1)
    features = [
        ("linear", {"input": "cls"}, s.cls),
        ("linear", {"input": "mean"}, s.mean),
        ("linearc", {}, jnp.concatenate([s.cls, s.mean], 1)),
        ("linearc", {"input": "bands"}, by_band),
        ("linpre", {"reading": "bands"}, by_band),
        ("stats", {}, jnp.concatenate([s.mean, s.max, s.std], 1)),
        ("stats", {"per_band": True}, jnp.stack(bands, 1).reshape(3, -1)),
    ]
    for name, options, wanted in features:
        probe = make_probe(name, num_classes=2, **options)
        variables = jax.jit(probe.init)(key, x)
        layer = variables["params"]["classifier"]
        expected = wanted @ layer["kernel"] + layer["bias"][None]
        np.testing.assert_allclose(probe.apply(variables, x), expected, atol=1e-6)


def test_mlp_is_an_affine_map_of_hidden_layers(key):
    x = draw(key)
    probe = make_probe(
        "mlp", num_classes=2, input="mean", hidden_layers=2, width=7, activation="tanh"
    )
    variables = jax.jit(probe.init)(key, x)
    params = jax.tree.map(np.asarray, variables["params"])
    h = np.asarray(summarise(x).mean)
    assert set(params) == {"hidden_0", "hidden_1", "classifier"}
    for name in ("hidden_0", "hidden_1"):
        h = np.tanh(h @ params[name]["kernel"] + params[name]["bias"])
    expected = h @ params["classifier"]["kernel"] + params["classifier"]["bias"]
    np.testing.assert_allclose(probe.apply(variables, x), expected, atol=1e-6)


def test_linpre_is_the_largest_logit_of_a_token(key):
    x = draw(key)
    probe = make_probe("linpre", num_classes=2)
    variables = jax.jit(probe.init)(key, x)
    layer = variables["params"]
    logits = x.patches[:, :2] @ layer["kernel"] + layer["bias"][None, None, None]
    np.testing.assert_allclose(probe.apply(variables, x), logits.max((1, 2)), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_conv_sees_zeros_where_steps_are_masked(key, pooling):
    x = draw(key)
    probe = make_probe("conv", num_classes=2, width=6, pooling=pooling)
    variables = jax.jit(probe.init)(key, x)
    params = jax.tree.map(np.asarray, variables["params"])
    head = params["classifier"]
    padded = np.pad(x.patches[:, :2], ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = np.zeros((3, 2, 2, 6))
    for t, f in np.ndindex(2, 2):
        window = padded[:, t : t + 3, f : f + 3]
        h[:, t, f] = np.einsum("btfd,tfdx->bx", window, params["conv_kernel"])
    pooled = getattr(np.maximum(h + params["conv_bias"], 0), pooling)((1, 2))
    expected = pooled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(probe.apply(variables, x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "classes", "count"),
    [
        ("cgp", {}, 527, 23_490_539),
        ("linear_cgp", {}, 10, 12 + 2 * 768 + 7_690),
        ("head2toe", {}, 10, (2 + 10) * 12 * 768 + 10),
    ],
)
def test_parameter_counts_of_probes_of_layers(name, options, classes, count):
    x = silence(768).replace(
        layers=jnp.zeros((1, 12, 1, 1, 768)), layer_cls=jnp.zeros((1, 12, 768))
    )
    probe = make_probe(name, num_classes=classes, **options)
    shapes = jax.eval_shape(probe.init, jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_only_some_probes_have_a_penalty(key):
    x = draw(key)
    x = x.replace(layers=x.patches[:, None], layer_cls=x.cls[:, None])
    for name, weighted in [
        ("linear", False),
        ("protofloat", False),
        ("proto", True),
        ("head2toe", True),
    ]:
        probe = make_probe(name, num_classes=2)
        params = jax.jit(probe.init)(key, x)["params"]
        value = probe.penalty(params)
        assert value.shape == ()
        assert (value > 0) == weighted
        if weighted:
            twice = probe.clone(penalty_weight=2 * probe.penalty_weight)
            np.testing.assert_allclose(twice.penalty(params), 2 * value, rtol=1e-6)


def test_a_group_at_zero_has_a_finite_gradient(key):
    x = draw(key)
    x = x.replace(layers=x.patches[:, None], layer_cls=x.cls[:, None])
    probe = make_probe("head2toe", num_classes=2)
    params = jax.jit(probe.init)(key, x)["params"]
    params["kernel"] = params["kernel"].at[0, 1].set(0.0)
    gradient = jax.grad(probe.penalty)(params)["kernel"]
    assert np.isfinite(gradient).all()
    assert (gradient[0, 1] == 0).all()


@pytest.mark.parametrize("name", ["proto", "protofloat"])
def test_top_k_counts_in_training_only_and_stops_at_the_clip(key, name):
    x = draw(key)
    four, many, one = (
        make_probe(name, num_classes=2, prototypes_per_class=3, top_k=k)
        for k in (4, 99, 1)
    )
    variables = jax.jit(four.init)(key, x)
    expected = one.apply(variables, x)
    np.testing.assert_array_equal(four.apply(variables, x), expected)
    averaged = four.clone(training=True).apply(variables, x)
    assert (np.abs(averaged - expected) > 1e-3).any()
    # Four positions are real: there is nothing more to average.
    actual = many.clone(training=True).apply(variables, x)
    np.testing.assert_allclose(actual, averaged, atol=1e-6)


@pytest.mark.parametrize("options", [{"focal": True}, {"upsample": True}])
def test_a_short_clip_is_a_short_map(key, options):
    x = draw(key)
    probe = make_probe("proto", num_classes=2, **options)
    variables = jax.jit(probe.init)(key, x)
    short = x.replace(patches=x.patches[:, :2], mask=x.mask[:, :2])
    np.testing.assert_allclose(
        probe.apply(variables, x), probe.apply(variables, short), atol=1e-6
    )


def test_a_sign_flips_only_when_a_prototype_crosses_zero(key):
    x = Tokens(
        patches=jax.random.normal(key, (2, 3, 2, 8)),
        cls=jnp.zeros((2, 8)),
        mask=jnp.ones((2, 3), bool),
    )
    probe = make_probe("protobin", num_classes=2, prototypes_per_class=2)
    variables = jax.jit(probe.init)(key, x)
    scaled = jax.tree.map(lambda a: a, variables)
    scaled["params"]["prototypes"] = 1e3 * scaled["params"]["prototypes"]
    np.testing.assert_array_equal(probe.apply(variables, x), probe.apply(scaled, x))


def test_registry_is_sorted_and_known():
    assert list_probes() == sorted(list_probes())
    assert {"linear", "stats", "protobin"} <= set(list_probes())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("protobins", {}, "unknown probe 'protobins': did you mean 'protobin'"),
        (
            "protobin",
            {"prototype_per_class": 3},
            "unknown option of probe 'protobin' 'prototype_per_class': did you mean "
            "'prototypes_per_class'?",
        ),
        ("linear", {"input": "clss"}, "did you mean 'cls'?"),
        ("linear", {"name": "x"}, "unknown option"),
        ("linear", {"training": True}, "unknown option"),
        ("mlp", {"activation": "rel"}, "activation of Mlp 'rel': did you mean 'relu'"),
        ("mlp", {"width": -1}, "Mlp: width must be a whole number of at least 1"),
        ("linearc", {"input": "band"}, "did you mean 'bands'?"),
        ("linpre", {"reading": "token"}, "did you mean 'token_max'?"),
        ("conv", {"pooling": "avg"}, "known: max, mean"),
        ("simpool", {"query": "max"}, "unknown query of SimPool 'max'"),
        ("abmilp", {"self_attention": "score"}, "did you mean 'scores'?"),
        ("abmilp", {"activation": "gelu"}, "unknown activation of AbMilp 'gelu'"),
        ("proto", {"penalty_weight": -1.0}, "penalty_weight must be at least 0"),
        ("proto", {"classifier": "blocks"}, "did you mean 'block'"),
        ("protofloat", {"top_k": 0}, "Protofloat: top_k must be a whole number"),
        ("cgp", {"middle": "max"}, "unknown middle of Cgp 'max'"),
        ("linear_cgp", {"input": "clss"}, "input of LinearCgp 'clss': did you mean"),
        ("head2toe", {"group": "features"}, "did you mean 'feature'"),
        ("conv", {"kernel_size": 0}, "Conv: kernel_size must be"),
        (
            "protobin",
            {"prototypes_per_class": 0},
            "prototypes_per_class must be a whole number of at least 1, not 0",
        ),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(InputError) as error:
        make_probe(name, num_classes=4, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "mhca",
            {"num_heads": 3},
            "num_heads=3 does not divide the 5 features; 1 does",
        ),
        ("esimpool", {}, "num_heads=12 does not divide the 5 features"),
        ("ep", {"reduction": 2}, "reduction=2 does not divide the 5 features"),
        ("ep", {}, "num_queries=32 does not divide the 5 features of the values"),
    ],
)
def test_widths_that_cannot_be_cut_are_named(key, name, options, message):
    probe = make_probe(name, num_classes=2, **options)
    with pytest.raises(InputError, match=message):
        probe.init(key, draw(key))


def test_batch_norm_wants_its_statistics(key):
    x = draw(key)
    probe = make_probe("mhca", num_classes=2, num_heads=5, batch_norm=True)
    variables = probe.init(key, x)
    with pytest.raises(InputError, match="batch_stats"):
        probe.apply({"params": variables["params"]}, x)
    # At first the running statistics are those of normalised tokens already.
    plain = make_probe("mhca", num_classes=2, num_heads=5)
    expected = plain.apply({"params": variables["params"]}, x)
    np.testing.assert_allclose(probe.apply(variables, x), expected, atol=1e-5)


def test_batch_norm_ignores_masked_steps(key):
    x = draw(key)
    probe = make_probe("mhca", num_classes=2, num_heads=5, batch_norm=True)
    probe = probe.clone(training=True)
    variables = probe.init(key, x)
    short = x.replace(patches=x.patches[:, :2], mask=x.mask[:, :2])
    actual, expected = (
        probe.apply(variables, given, mutable=["batch_stats"]) for given in (x, short)
    )
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-6), actual, expected
    )


def test_attention_keeps_no_keys_or_values_of_tokens():
    b, n, d = 64, 128, 96
    probe = make_probe("mhca", num_classes=2)

    def gradient(params, patches):
        x = Tokens(patches, jnp.zeros((b, d)), jnp.ones((b, n), bool))
        return jax.grad(lambda p: probe.apply({"params": p}, x).sum())(params)

    patches = jnp.zeros((b, n, 1, d))
    params = jax.eval_shape(probe.init, jax.random.key(0), silence(d))["params"]
    compiled = jax.jit(gradient).lower(params, patches).compile()
    memory = compiled.memory_analysis().temp_size_in_bytes
    assert memory < 2 * 4 * b * n * d  # keys, values and their cotangents take 4 times


@pytest.mark.parametrize("classes", [0, -1, True])
def test_number_of_classes_must_be_positive(classes):
    with pytest.raises(InputError, match="num_classes"):
        make_probe("linear", num_classes=classes)
