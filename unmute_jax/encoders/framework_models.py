"""Makes custom encoders of models that other benchmarks can run, in any framework.

PyTorch and TensorFlow are not imported here. A model of theirs can only exist where its
own module has imported them.
"""

from __future__ import annotations

import abc
import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from unmute_jax.errors import InputError


class FrameworkModel(abc.ABC):
    """A model of another framework with the attributes of a custom encoder.

    A `torch.nn.Module` is put in evaluation mode, on a GPU if PyTorch finds one, and
    gets tensors on that device; a `tf.Module` gets tensors of TensorFlow; any other
    object gets NumPy arrays. No gradients are computed.

    Attributes:
        name: The name of the encoder, for messages.
        model: The model.
        sample_rate: Rate of the waveforms, in Hz.
        version: Version of the module or package that the model comes from.
        description: The name and the version, for people.
        seconds_per_step: Seconds from one time step to the next.
        mask_padding: Whether time steps that begin behind the end of a clip are masked.
        jittable: False, as the model runs outside of JAX.
    """

    jittable = False
    # Name of the model's attribute that holds the sample rate.
    rate: ClassVar[str]

    def __init__(
        self, name: str, model: Any, module: ModuleType, *, mask_padding: bool
    ) -> None:
        self.name, self.model, self.mask_padding = name, model, mask_padding
        self.version = _version(module)
        self.description = f"{name}, version {self.version}"
        self._torch = _framework("torch", "nn.Module", model)
        self._tensorflow = _framework("tensorflow", "Module", model)
        if self._torch is not None:
            self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
            model.to(self._device).eval()
        self.sample_rate = int(self.positive_number(self.rate))
        self.seconds_per_step = self.measure_step()

    @abc.abstractmethod
    def measure_step(self) -> float:
        """Returns the seconds from one time step to the next."""

    @abc.abstractmethod
    def embed(self, waveform: Float[np.ndarray, "B S"]) -> Float[np.ndarray, "B T D"]:
        """Computes the embeddings of all time steps."""

    def __call__(
        self, waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
    ) -> dict[str, np.ndarray]:
        """Computes patches and mask, as a custom encoder does."""
        patches = self.embed(waveform)
        steps = np.arange(patches.shape[1])[None] * self.seconds_per_step
        is_real = steps < lengths[:, None] / self.sample_rate
        return {"patches": patches, "mask": is_real | (not self.mask_padding)}

    def positive_number(self, attribute: str) -> float:
        """Returns an attribute of the model.

        Raises:
            InputError: It does not exist, or is no positive number.
        """
        value = getattr(self.model, attribute, None)
        try:
            number = float(value)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < math.inf:
            raise InputError(
                f"the model of {self.name} must have a positive number as its "
                f"{attribute}, not {value!r:.80}"
            )
        return number

    def run(
        self, function: Callable[[Any], Any], waveform: Float[np.ndarray, "B S"]
    ) -> Any:
        """Calls a function with a tensor of the model's framework."""
        if self._torch is not None:
            with self._torch.no_grad():
                return function(self._torch.from_numpy(waveform).to(self._device))
        if self._tensorflow is not None:
            return function(self._tensorflow.convert_to_tensor(waveform))
        return function(waveform)

    def array(self, tensor: Any) -> np.ndarray:
        """Returns a tensor of any framework as a NumPy array."""
        if self._torch is not None and isinstance(tensor, self._torch.Tensor):
            # NumPy has no bfloat16.
            tensor = tensor.detach().cpu().float()
        return np.asarray(tensor)


def split_name(name: str, parts: int) -> tuple[str, ...]:
    """Splits the name of a source at its colons; what is missing is empty.

    The last part is the place of weights, which may have colons.

    Args:
        name: A name such as "hear:MODULE:WEIGHTS".
        parts: The number of parts.
    """
    found = name.split(":", parts - 1)
    return (*found, *[""] * (parts - len(found)))


def choose_weights(name: str, in_name: str, given: str | None) -> str:
    """Returns the weights that the name states or that are given beside it.

    Raises:
        InputError: Both are given.
    """
    if in_name and given:
        raise InputError(
            f"{name} names weights, and {given} is given too: leave out one"
        )
    return in_name or str(given or "")


def _framework(module: str, base: str, model: Any) -> Any:
    """Returns a framework if it is imported and the model is one of its modules."""
    found = framework = sys.modules.get(module)
    for part in base.split("."):
        found = getattr(found, part, None)
    return framework if isinstance(found, type) and isinstance(model, found) else None


def _version(module: ModuleType) -> str:
    package = sys.modules[module.__name__.partition(".")[0]]
    versions = (getattr(m, "__version__", None) for m in (module, package))
    return next((str(v) for v in versions if v), "not said")
