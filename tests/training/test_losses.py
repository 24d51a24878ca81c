"""Losses against the reference values, and what users rely on."""

import ast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import assert_close
from tests.probes.golden import cases, read
from unmute_jax.errors import InputError
from unmute_jax.training.losses import make_loss


def test_asymmetric_equals_every_reference_row():
    case = read(cases("asl.npz")[0])
    rows = case["params"]
    assert len(rows) > 0
    logits = jnp.asarray(case["logits"])
    for row in map(ast.literal_eval, rows.tolist()):
        k, implementation, negative, positive, clip, constant, targets, _ = row
        loss = make_loss(
            "asymmetric",
            gamma_negative=float(negative),
            gamma_positive=float(positive),
            clip=float(clip),
            differentiate_weights=not int(constant),
        )
        y = jnp.asarray(case[f"y_{targets}"])
        value, gradient = jax.value_and_grad(
            lambda x, loss=loss, y=y: loss(x, y).mean()
        )(logits)
        # timm sums over the classes.
        factor = logits.shape[1] if implementation == "timm" else 1
        name = f"row {k}"
        assert_close(
            factor * value, case[f"loss_{k}"], f"loss, {name}", rtol=1e-5, atol=1e-7
        )
        assert_close(
            factor * gradient, case[f"grad_{k}"], f"grad, {name}", rtol=1e-4, atol=1e-6
        )


def test_cross_entropy_equals_the_reference():
    case = read(cases("asl_single.npz")[0])
    logits = jnp.asarray(case["logits"])
    labels = jax.nn.one_hot(case["target"], logits.shape[1])
    loss = make_loss("cross_entropy")
    value, gradient = jax.value_and_grad(lambda x: loss(x, labels).mean())(logits)
    assert_close(value, case["ce_loss"], "ce_loss", atol=0.0, rtol=1e-5)
    assert_close(gradient, case["ce_grad"], "ce_grad", rtol=1e-4, atol=1e-7)


def test_bce_equals_its_definition_for_soft_labels(key):
    logits = 5 * jax.random.normal(key, (7, 4))
    labels = jax.random.uniform(key, (7, 4))
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).mean(-1)
    np.testing.assert_allclose(make_loss("bce")(logits, labels), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["asymmetric", "bce", "cross_entropy"])
@pytest.mark.parametrize("size", [20.0, 1e3])
def test_finite_for_saturated_logits(name, size):
    logits = jnp.array([[size, -size], [-size, size]])
    labels = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    loss = make_loss(name)
    assert loss(logits, labels).shape == (2,)
    value, gradient = jax.value_and_grad(lambda x: loss(x, labels).sum())(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_asymmetric_gradient_is_finite_for_small_gamma():
    loss = make_loss("asymmetric", gamma_negative=0.5, gamma_positive=0.5)
    logits = jnp.array([[-9.0, 9.0, 200.0]])
    labels = jnp.array([[0.0, 1.0, 1.0]])
    gradient = jax.grad(lambda x: loss(x, labels).sum())(logits)
    assert np.isfinite(gradient).all()


def test_easy_negatives_cost_nothing():
    loss = make_loss("asymmetric")
    assert loss(jnp.full((1, 3), -4.0), jnp.zeros((1, 3))) == 0.0


def test_a_confident_false_positive_has_a_gradient_only_without_the_clip():
    def gradient(logit, **options):
        loss = make_loss("asymmetric", **options)
        return jax.grad(lambda x: loss(x, jnp.zeros((1, 1))).sum())(
            jnp.full((1, 1), logit)
        )[0, 0]

    assert gradient(2.0) > 0.1
    assert gradient(15.0) < 1e-4
    assert gradient(15.0, clip=0.0) > 0.9


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("asymetric", {}, "unknown loss 'asymetric': did you mean 'asymmetric'?"),
        ("asymmetric", {"gama_negative": 1}, "'gamma_negative'"),
        ("bce", {"clip": 0.1}, "unknown option of loss 'bce'"),
        ("asymmetric", {"clip": -0.1}, "clip=-0.1: must be a number from 0 to 1"),
        ("asymmetric", {"gamma_negative": float("inf")}, "gamma_negative=inf: must be"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(InputError, match="loss") as error:
        make_loss(name, **options)
    assert message in str(error.value)
