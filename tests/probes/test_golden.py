"""Probes, losses and training against the reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.probes.golden import (
    affine,
    as_float32,
    cases,
    check_case,
    norm,
    read,
    tokens_from,
)
from unmute_jax.losses import make_loss
from unmute_jax.probes import make_probe
from unmute_jax.probes.prototypes import best_matches, sign

ids = lambda path: path.stem  # noqa: E731


def vectors(case, kind):
    """Prototypes `[P, D, 1, 1]` as `[P, D]`."""
    x = case[f"{kind}.prototype_vectors"]
    return x.reshape(x.shape[:2])


def protobin_params(case, kind):
    return {
        "prototypes": vectors(case, kind),
        "classifier": affine(case, f"{kind}.fc"),
    }


def linear_params(case, kind):
    return {"classifier": affine(case, kind)}


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, **tolerance), actual, expected
    )


@pytest.mark.parametrize("path", cases("bat_linear_[cg][la][sp]*.npz"), ids=ids)
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


@pytest.mark.parametrize("path", cases("bat_protobin_[ce][ld][ig]*.npz"), ids=ids)
def test_protobin_equals_the_reference(path):
    case = read(path)
    classes, p = case["w.fc.weight"].shape
    probe = make_probe(
        "protobin", num_classes=classes, prototypes_per_class=p // classes
    )
    check_case(probe, case, protobin_params, ["tokens"], tokens_from)


@pytest.mark.parametrize("path", cases("bat_protobin_*.npz"), ids=ids)
def test_sign_and_similarities_equal_the_reference(path):
    case = read(path)
    bank = sign(jnp.asarray(vectors(case, "w")))
    np.testing.assert_array_equal(bank, case["mid.proto_sign"][..., 0, 0])
    tokens = tokens_from(case["in.tokens"]).with_inverse_norms()
    best = best_matches(tokens, bank, binary=True)
    np.testing.assert_allclose(best, case["mid.sim"].max((2, 3)), atol=2e-6)


@pytest.mark.parametrize(
    ("name", "path", "to_params"),
    [
        ("protobin", cases("train_protobin.npz")[0], protobin_params),
        ("linear", cases("train_linear.npz")[0], linear_params),
    ],
    ids=["protobin", "linear"],
)
def test_training_equals_the_reference(name, path, to_params):
    case = read(path)
    lr, decay, beta1, beta2, eps, steps = case["hp"].tolist()
    classes = case["Y"].shape[1]
    options = {}
    if name == "protobin":
        options["prototypes_per_class"] = len(case["w0.prototype_vectors"]) // classes
    probe = make_probe(name, num_classes=classes, **options)
    tokens = tokens_from(case["X"], case["Xcls"]).with_inverse_norms()
    labels = jnp.asarray(case["Y"])
    loss = make_loss("asymmetric")
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(lr, int(steps)),
        beta1,
        beta2,
        eps,
        weight_decay=decay,
    )

    def objective(params):
        logits = probe.apply({"params": params}, tokens)
        return loss(logits, labels).mean(), logits

    @jax.jit
    def step(params, state):
        (value, logits), grads = jax.value_and_grad(objective, has_aux=True)(params)
        # optax itself mixes integer and float scalars.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, logits

    params = as_float32(to_params(case, "w0"))
    state = optimizer.init(params)
    losses = []
    for _ in range(int(steps)):
        params, state, value, logits = step(params, state)
        losses.append(float(value))
    # The losses would agree to 5e-8 if optax did not round 1 - beta2^t to float32.
    np.testing.assert_allclose(losses, case["losses"], atol=1e-6)
    np.testing.assert_allclose(logits, case["final_logits"], atol=2e-5)
    assert_trees_close(params, to_params(case, "w1"), atol=1e-5)
