"""Reference values of the public PyTorch implementations, and how to compare them."""

import operator
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden import FOLDER, assert_close, read
from unmute_jax.tokens import Tokens

__all__ = ["read"]

Case = dict[str, np.ndarray]

# The number of heads of the reference values, which no array shows.
HEADS = 4

# The name of a case in the report of a test.
stem = operator.attrgetter("stem")


def cases(pattern: str) -> list[pathlib.Path]:
    """The files of `probes/` with names like `pattern`; there must be one."""
    paths = sorted((FOLDER / "probes").glob(pattern))
    if not paths:
        raise FileNotFoundError(f"no golden case like {pattern} in {FOLDER}/probes")
    return paths


def tokens_from(x: np.ndarray, cls: np.ndarray | None = None) -> Tokens:
    """Tokens from the reference's layout `[B, D, T, F]`."""
    patches = jnp.moveaxis(jnp.asarray(x), 1, -1)
    b, t, *_ = patches.shape
    cls = patches.mean((1, 2)) if cls is None else jnp.asarray(cls)
    return Tokens(patches=patches, cls=cls, mask=jnp.ones((b, t), bool))


def layers_from(patches: Any = None, cls: Any = None) -> Tokens:
    """Tokens with layers from the reference's `[L, B, D, T, F]`, `[L, B, D]`."""
    if patches is None:
        patches = jnp.zeros((*cls.shape, 1, 1))
    layers = jnp.moveaxis(jnp.moveaxis(patches, 0, 1), 2, -1)
    layer_cls = layers.mean((2, 3)) if cls is None else jnp.moveaxis(cls, 0, 1)
    return Tokens(
        patches=layers[:, -1],
        cls=layer_cls[:, -1],
        mask=jnp.ones((len(layers), layers.shape[2]), bool),
        layers=layers,
        layer_cls=layer_cls,
    )


def affine(case: Case, layer: str) -> dict[str, np.ndarray]:
    """The parameters of a linear layer of the reference, as ours."""
    return {"kernel": case[f"{layer}.weight"].T, "bias": case[f"{layer}.bias"]}


def norm(case: Case, layer: str) -> dict[str, np.ndarray]:
    """The parameters of a LayerNorm of the reference, as ours."""
    return {"scale": case[f"{layer}.weight"], "bias": case[f"{layer}.bias"]}


def identity_head(width: int) -> dict[str, np.ndarray]:
    """A classifier that passes the pooled vector on as logits."""
    return {"kernel": np.eye(width), "bias": np.zeros(width)}


def as_float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def assert_gradient(actual, expected, name=""):
    """Compares a gradient with the reference, relative to its largest entry.

    Small entries are sums of large ones. If even the largest is only a rounding error
    of float64, the gradient is zero.
    """
    scale = max(np.abs(expected).max(), 1e-9)
    assert_close(actual, expected, f"gradient {name}", rtol=1e-4, atol=1e-5 * scale)


def check_case(
    probe, case, to_params, inputs, to_tokens, collections=None, method=None
):
    """Compares the logits and gradients of `probe` with a case.

    Args:
        probe: The probe.
        case: The arrays of the case.
        to_params: Function from (case, kind) to parameters. The kind is "w" for values
            and "g" for gradients, of which some may be missing.
        inputs: Names of the arrays `in.*` that `to_tokens` takes.
        to_tokens: Function from those arrays to `Tokens`.
        collections: Variables besides the parameters.
        method: Name of the method to call instead of the probe itself.

    Returns:
        The collections after the call.
    """
    params = as_float32(to_params(case, "w"))

    def loss(params, *x):
        variables = {"params": params, **(collections or {})}
        logits, changed = probe.apply(
            variables, to_tokens(*x), mutable=list(collections or ()), method=method
        )
        return jnp.square(logits).sum(), (logits, changed)

    x = [jnp.asarray(case[f"in.{name}"]) for name in inputs]
    compute = jax.jit(jax.value_and_grad(loss, argnums=range(1 + len(x)), has_aux=True))
    (_, (logits, changed)), (g, *gin) = compute(params, *x)
    assert_close(logits, case["out"], "out", atol=2e-5, rtol=1e-7)
    expected = dict(jax.tree.leaves_with_path(to_params(case, "g")))
    for path, leaf in jax.tree.leaves_with_path(g):
        if path in expected:
            assert_gradient(leaf, expected[path], jax.tree_util.keystr(path))
    for name, leaf in zip(inputs, gin, strict=True):
        assert_gradient(leaf, case[f"gin.{name}"], name)
    return changed


def check_equation(probe, equation, params, tokens):
    """Compares the logits and gradients of `probe` with an equation in NumPy.

    Args:
        probe: The probe.
        equation: Function from parameters and tokens `[B, N, D]` in float64 to logits.
            The gradient of the sum of their squares is taken by central differences.
        params: The parameters.
        tokens: The tokens `[B, T, F, D]`, without masked steps.
    """
    shape = (len(tokens), -1, tokens.shape[-1])
    values, tree = jax.tree.flatten((params, tokens))
    values = [np.array(v, np.float32).astype(np.float64) for v in values]

    def logits():
        params, patches = jax.tree.unflatten(tree, values)
        return equation(params, patches.reshape(shape))

    expected, step, gradients = logits(), 1e-6, []
    for value in values:
        gradient = np.empty_like(value)
        for i in np.ndindex(value.shape):
            before, sides = value[i], []
            for value[i] in (before + step, before - step):
                sides.append(np.square(logits()).sum())
            value[i] = before
            gradient[i] = (sides[0] - sides[1]) / (2 * step)
        gradients.append(gradient)
    params, patches = jax.tree.unflatten(tree, values)
    wanted, of_tokens = jax.tree.unflatten(tree, gradients)
    channels = np.moveaxis(patches, -1, 1).astype(np.float32)
    case = {"out": expected, "in.tokens": channels}
    case["gin.tokens"] = np.moveaxis(of_tokens, -1, 1)
    kinds = {"w": params, "g": wanted}
    check_case(probe, case, lambda _, kind: kinds[kind], ["tokens"], tokens_from)


def number_after(path, mark, otherwise):
    """The number after `mark` in a file name like `..._k3_train`."""
    parts = [part for part in path.stem.split("_") if part.startswith(mark)]
    return int(parts[0].removeprefix(mark)) if parts else otherwise


def vectors(case: Case, kind: str) -> np.ndarray:
    """Prototypes `[P, D, 1, 1]` as `[P, D]`."""
    x = case[f"{kind}.prototype_vectors"]
    return x.reshape(x.shape[:2])


def protobin_params(case: Case, kind: str) -> Any:
    return {
        "prototypes": vectors(case, kind),
        "classifier": affine(case, f"{kind}.fc"),
    }


def mhca_params(case: Case, kind: str, pool: str = "", head: str = "") -> Any:
    """The parameters of `mhca`; the classifier is the identity if there is none."""
    d = case[f"{kind}.{pool}k.weight"].shape[0]
    params = {
        "queries": case[f"{kind}.{pool}cls_token"][0],
        "key": case[f"{kind}.{pool}k.weight"].T,
        "value": case[f"{kind}.{pool}v.weight"].T,
    }
    if head:
        params["classifier"] = affine(case, f"{kind}.{head}")
    elif kind == "w":
        params["classifier"] = identity_head(d)
    return params
