"""Counts the operations of a computation from its jaxpr, without running it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_multiply_adds(function: Callable[..., Any], *arguments: Any) -> int:
    """The number of multiply-adds in all matrix products and convolutions of a call.

    Everything else (sums, softmax, norms, memory traffic) is not counted. A loop
    without a fixed number of iterations counts as one iteration, and a branch as its
    most expensive case.

    Args:
        function: A function of arrays that JAX can trace.
        *arguments: The arguments of the call: arrays, or their shapes and types.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return out * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = params["dimension_numbers"].rhs_spec[0]
        return out * math.prod(kernel) // kernel[features]
    inner = [_of_jaxpr(jaxpr) for jaxpr in _inner_jaxprs(params)]
    if name == "cond":
        return max(inner)
    return params.get("length", 1) * sum(inner) if name == "scan" else sum(inner)


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(item, "eqns"):
                yield item
            elif hasattr(item, "jaxpr"):
                yield item.jaxpr
