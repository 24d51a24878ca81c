"""Compares stages inside a network with the reference."""

import re

import jax
import numpy as np

from tests import golden


def lengths(arrays):
    """The numbers of frames of the golden inputs `x_...`."""
    found = [m[1] for name in arrays if (m := re.fullmatch(r"x_(\d+)", name))]
    assert found
    return found


def check_blocks(encoder, spectrogram, arrays, length, **tolerance):
    """Compares the layers of the tokens with `block..._LENGTH`, class token first."""
    tokens = jax.device_get(encoder.encode(spectrogram, all_layers=True))
    b, l, t, f, d = tokens.layers.shape
    assert {f"block{k}_{length}" in arrays for k in range(l)} == {True}
    assert f"block{l}_{length}" not in arrays
    patches = tokens.layers.reshape(b, l, t * f, d)
    for k in range(l):
        got = np.concatenate([tokens.layer_cls[:, k, None], patches[:, k]], axis=1)
        name = f"block{k}_{length}"
        golden.assert_close(got, arrays[name], name, **tolerance)


def captured(encoder, x):
    """The output of every module of the network, by the name of the module."""

    @jax.jit
    def run(params, x):
        _, state = encoder.network.apply(
            {"params": params}, x, capture_intermediates=True, mutable=["intermediates"]
        )
        return state["intermediates"]

    return run(encoder.params, x)


def applied(encoder, *inputs, method):
    """The output of a method of the network, compiled as a whole.

    Inputs that are no arrays are constants of the program.
    """

    @jax.jit
    def run(params, arrays):
        values = [arrays.get(i, value) for i, value in enumerate(inputs)]
        return encoder.network.apply({"params": params}, *values, method=method)

    arrays = {i: value for i, value in enumerate(inputs) if not isinstance(value, int)}
    return run(encoder.params, arrays)
