"""The names and shapes of the tensors in published files, as arrays without memory."""

import json

import numpy as np

from tests import golden


def manifest(name):
    """The manifest of one published file or family."""
    folder = golden.ENCODERS
    if not (folder / f"{name}_manifest.json").exists():
        folder = golden.MORE_ENCODERS
    return json.loads((folder / f"{name}_manifest.json").read_text("utf-8"))


def without_memory(shapes):
    """Name -> tensor of these shapes, all of whose elements are the same zero."""
    zero = np.zeros((), np.float32)
    return {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}


def check_sizes(checkpoints, found):
    """The sizes of the tensors, which are exactly those that a network needs."""
    sizes = checkpoints.read_sizes(found)
    layout = {name: tensor.shape for name, tensor in found.tensors.items()}
    assert checkpoints.layout(sizes) == layout
    return sizes
