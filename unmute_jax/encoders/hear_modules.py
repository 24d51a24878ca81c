"""Loads modules with the interface of HEAR 2021 as encoders: `hear:MODULE[:WEIGHTS]`.

Such a module has two functions (https://hearbenchmark.com/hear-api.html):

    load_model(model_file_path) -> model with `sample_rate`
    get_timestamp_embeddings(audio, model) -> embeddings [B, T, D], times [B, T] in ms

The times become the time grid. Embeddings have no frequency axis and no class token, so
F is 1 and the mean over time takes the place of the class token.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import custom
from unmute_jax.encoders.framework_models import (
    FrameworkModel,
    choose_weights,
    split_name,
)
from unmute_jax.encoders.user_modules import check_options, import_module
from unmute_jax.errors import InputError

PREFIX = "hear:"
FUNCTIONS = ("load_model", "get_timestamp_embeddings")
# Length of the sound on which the distance of the time stamps is measured.
_SECONDS = 10.0
# Deviations that are rounding: in ms, and as a share of a step or of the clip. Some
# modules divide the length of a clip by its number of steps, which does not divide it.
_ROUNDING_MS, _ROUNDING = 1.0, 0.01


def load(
    name: str, *, weights: str | None = None, mask_padding: bool = False, **options: Any
) -> custom.CustomEncoder:
    """Loads the encoder `hear:MODULE[:WEIGHTS]`, also from the current folder.

    Args:
        name: "hear:", the name of the module, and optionally a colon and the argument
            of its `load_model`.
        weights: The argument of `load_model`, if it is not in the name.
        mask_padding: Whether time steps behind the end of a clip are masked.
        **options: Further arguments of `load_model`.

    Raises:
        InputError: The module does not exist or lacks a function, `load_model` finds no
            file or does not know an option, or the time stamps are not regular.
    """
    _, path, weights_in_name = split_name(name, 3)
    if not all(part.isidentifier() for part in path.split(".")):
        raise InputError(
            f"{name!r} does not name a module with the HEAR interface: hear:MODULE or "
            "hear:MODULE:WEIGHTS is expected, as in hear:my_package.my_module"
        )
    module = import_module(path)
    missing = [f for f in FUNCTIONS if not callable(getattr(module, f, None))]
    if missing:
        raise InputError(
            f"{path} has no function {' and no '.join(missing)}: a module with the "
            f"HEAR interface needs {' and '.join(FUNCTIONS)}"
        )
    check_options(name, module.load_model, options)
    weights = choose_weights(name, weights_in_name, weights)
    try:
        model = module.load_model(*[weights][: bool(weights)], **options)
    except OSError as error:
        raise InputError(
            f"load_model of {path} cannot open its weights: {error}"
        ) from error
    # The place of the weights is no part of the name: their content is in the key.
    name = f"{PREFIX}{path}"
    return custom.wrap(
        name,
        HearModel(name, model, module, mask_padding=mask_padding),
        module=path,
        options={**options, "weights": weights or None, "mask_padding": mask_padding},
    )


class HearModel(FrameworkModel):
    """The model of a module with the HEAR interface, see `FrameworkModel`."""

    rate = "sample_rate"

    def __init__(
        self, name: str, model: Any, module: ModuleType, *, mask_padding: bool
    ) -> None:
        self._embeddings_of = module.get_timestamp_embeddings
        super().__init__(name, model, module, mask_padding=mask_padding)

    def measure_step(self) -> float:
        """Returns the mean distance of the time stamps of 10 s of noise, in seconds.

        Raises:
            InputError: The time stamps are not regular.
        """
        samples = round(_SECONDS * self.sample_rate)
        # Not silence: models that divide by a standard deviation would warn.
        noise = np.random.default_rng(0).standard_normal((1, samples), np.float32) / 100
        times = self._embed(noise)[1][0]
        if len(times) < 2:
            raise InputError(
                f"{self.name} gives {len(times)} time stamps for {_SECONDS:g} s of "
                "sound: a time grid needs two at least"
            )
        gaps, step = np.diff(times), float(times[-1] - times[0]) / (len(times) - 1)
        # Comparisons with NaN are false.
        is_regular = np.abs(gaps - step) <= max(_ROUNDING_MS, _ROUNDING * step)
        if not (step > 0 and is_regular.all()):
            raise InputError(
                f"the time stamps of {self.name} are not regular: they are "
                f"{gaps.min():.4g} to {gaps.max():.4g} ms apart, and must ascend by "
                "equal steps"
            )
        return step / 1000

    def embed(self, waveform: Float[np.ndarray, "B S"]) -> Float[np.ndarray, "B T D"]:
        """Computes the embeddings of all time steps.

        Raises:
            InputError: The time stamps do not fit the time grid.
        """
        patches, times = self._embed(waveform)
        step = 1000 * self.seconds_per_step
        ms = 1000 * waveform.shape[1] / self.sample_rate
        grid = (np.arange(times.shape[1]) + 0.5) * step
        if not (np.abs(times - grid) <= step + _ROUNDING * ms).all():
            raise InputError(
                f"the time stamps of {self.name} for {ms / 1000:.4g} s of sound, "
                f"{times.min():.5g} to {times.max():.5g} ms, do not fit the "
                f"{step:.4g} ms from one to the next in {_SECONDS:g} s of sound: "
                f"{times.shape[1]} steps have their centres at {grid[0]:.5g} to "
                f"{grid[-1]:.5g} ms"
            )
        return patches

    def _embed(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calls the module and checks the shapes of its result."""
        out = self.run(lambda audio: self._embeddings_of(audio, self.model), waveform)
        if not isinstance(out, tuple | list) or len(out) != 2:
            raise InputError(
                f"get_timestamp_embeddings of {self.name} must return embeddings and "
                f"time stamps, not a {type(out).__name__}"
            )
        patches = self.array(out[0])
        times = self.array(out[1]).astype(np.float64)
        width = getattr(self.model, "timestamp_embedding_size", patches.shape[-1])
        if patches.ndim != 3 or times.shape != patches.shape[:2]:
            raise InputError(
                f"{self.name} gives embeddings of shape {list(patches.shape)} and time "
                f"stamps of shape {list(times.shape)}: they must be [clips, time, "
                "features] and [clips, time]"
            )
        if patches.shape[-1] != width:
            raise InputError(
                f"{self.name} gives {patches.shape[-1]} features, and its model states "
                f"timestamp_embedding_size {width}"
            )
        return patches, times
