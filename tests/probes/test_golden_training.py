"""Short training runs against the reference implementations."""

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.golden import assert_close
from tests.probes.golden import (
    affine,
    as_float32,
    cases,
    mhca_params,
    protobin_params,
    read,
    tokens_from,
    vectors,
)
from unmute_jax.config import Optimizer
from unmute_jax.probes import make_probe
from unmute_jax.training.losses import make_loss
from unmute_jax.training.step import optimizer_for


def linear_params(case, kind):
    return {"classifier": affine(case, kind)}


def train_mhca_params(case, kind):
    return mhca_params(case, kind, "pool.", "head")


def protofloat_params(case, kind):
    return {
        "prototypes": vectors(case, kind),
        "classifier": affine(case, f"{kind}.linear"),
    }


@pytest.mark.parametrize(
    ("name", "path", "to_params"),
    [
        ("protobin", "train_protobin.npz", protobin_params),
        ("linear", "train_linear.npz", linear_params),
        ("mhca", "train_mhca.npz", train_mhca_params),
        ("protofloat", "train_protofloat.npz", protofloat_params),
    ],
    ids=["protobin", "linear", "mhca", "protofloat"],
)
def test_training_equals_the_reference(name, path, to_params):
    case = read(cases(path)[0])
    lr, decay, beta1, beta2, eps, steps = case["hp"].tolist()
    classes = case["Y"].shape[1]
    options = {"num_heads": 4} if name == "mhca" else {}
    if "w0.prototype_vectors" in case:
        options["prototypes_per_class"] = len(case["w0.prototype_vectors"]) // classes
    probe = make_probe(name, num_classes=classes, **options)
    tokens = tokens_from(case["X"], case["Xcls"]).with_inverse_norms()
    labels = jnp.asarray(case["Y"])
    loss = make_loss("asymmetric")
    settings = Optimizer(b1=beta1, b2=beta2, eps=eps)
    optimizer = optimizer_for(lr, decay, int(steps), settings)

    def objective(params):
        logits = probe.apply({"params": params}, tokens)
        return loss(logits, labels).mean(), logits

    @jax.jit
    def step(params, state):
        (value, logits), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, logits

    params = as_float32(to_params(case, "w0"))
    state = optimizer.init(params)
    losses = []
    for _ in range(int(steps)):
        params, state, value, logits = step(params, state)
        losses.append(float(value))
    assert_close(losses, case["losses"], "losses", atol=1e-7)
    assert_close(logits, case["final_logits"], "final_logits", atol=2e-5)
    jax.tree.map(
        lambda got, want: assert_close(got, want, "w1", atol=1e-5),
        params,
        to_params(case, "w1"),
    )
