"""A stand-in for PyTorch with what the doors to other benchmarks use of it.

Tests need no PyTorch. Like the real one, a tensor is no NumPy array, and one that
requires a gradient or is of bfloat16 cannot be read as one.
"""

import contextlib
import types

import ml_dtypes
import numpy as np


class Tensor:
    def __init__(self, array, device="cpu", grad=False):
        self.array, self.device, self.grad = array, device, grad

    @property
    def shape(self):
        return self.array.shape

    def detach(self):
        return Tensor(self.array, self.device)

    def cpu(self):
        return Tensor(self.array, "cpu", self.grad)

    def to(self, device):
        return Tensor(self.array, device, self.grad)

    def float(self):
        return Tensor(self.array.astype(np.float32), self.device, self.grad)

    def bfloat16(self):
        return Tensor(self.array.astype(ml_dtypes.bfloat16), self.device, self.grad)

    def expand(self, rows, _):
        return Tensor(np.broadcast_to(self.array, (rows, len(self.array))), self.device)

    def numpy(self):
        if self.grad or self.device != "cpu" or self.array.dtype == ml_dtypes.bfloat16:
            raise RuntimeError("Can't call numpy() on this tensor.")
        return self.array

    def __array__(self, *args, **kwargs):
        return self.numpy()


class Module:
    device, training = "cpu", True

    def to(self, device):
        self.device = device
        return self

    def eval(self):
        self.training = False
        return self

    def __call__(self, *args):
        return self.forward(*args)


def from_numpy(array):
    assert isinstance(array, np.ndarray)
    assert array.flags.writeable
    return Tensor(array)


def make_torch(*, cuda=False):
    """Makes the module, with or without a GPU."""
    torch = types.ModuleType("torch")
    torch.Tensor, torch.from_numpy, torch.grad_enabled = Tensor, from_numpy, True
    torch.nn = types.SimpleNamespace(Module=Module)
    torch.cuda = types.SimpleNamespace(is_available=lambda: cuda)

    @contextlib.contextmanager
    def no_grad():
        torch.grad_enabled = False
        yield
        torch.grad_enabled = True

    torch.no_grad = no_grad
    return torch
