"""Loads encoders written for X-ARES: `xares:MODULE:CLASS[:WEIGHTS]`.

Such a class needs three attributes, `sampling_rate` in Hz, `output_dim` and
`hop_size_in_ms`, and its objects turn audio [B, S] into embeddings [B, T, D]
(https://github.com/jimbozhang/xares). These have no frequency axis and no class token,
so F is 1 and the mean over time takes the place of the class token.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import custom
from unmute_jax.encoders.framework_models import (
    FrameworkModel,
    choose_weights,
    split_name,
)
from unmute_jax.encoders.user_modules import (
    check_options,
    import_class,
    import_module,
)
from unmute_jax.errors import InputError

PREFIX = "xares:"


def load(
    name: str, *, weights: str | None = None, mask_padding: bool = False, **options: Any
) -> custom.CustomEncoder:
    """Loads the encoder `xares:MODULE:CLASS[:WEIGHTS]`, also from the current folder.

    Args:
        name: "xares:", the module, a colon and the class, and optionally another colon
            and the first argument of the class.
        weights: The first argument of the class, if it is not in the name.
        mask_padding: Whether time steps behind the end of a clip are masked.
        **options: Further arguments of the class.

    Raises:
        InputError: There is no such module or class, it does not take the arguments, or
            its object has not the shape of an X-ARES encoder.
    """
    _, path, attribute, weights_in_name = split_name(name, 4)
    if not all(part.isidentifier() for part in (*path.split("."), attribute)):
        raise InputError(
            f"{name!r} does not name an encoder of X-ARES: xares:MODULE:CLASS or "
            "xares:MODULE:CLASS:WEIGHTS is expected, as in xares:my_file:MyEncoder"
        )
    make = import_class(f"{path}:{attribute}")
    check_options(name, make, options)
    weights = choose_weights(name, weights_in_name, weights)
    positional = [weights][: bool(weights)]
    try:
        inspect.signature(make).bind(*positional, **options)
    except TypeError as error:
        raise InputError(f"{attribute} of {path} cannot be made: {error}") from error
    try:
        model = make(*positional, **options)
    except OSError as error:
        raise InputError(
            f"{attribute} of {path} cannot open its weights: {error}"
        ) from error
    # The place of the weights is no part of the name: their content is in the key.
    name = f"{PREFIX}{path}:{attribute}"
    return custom.wrap(
        name,
        XaresModel(name, model, import_module(path), mask_padding=mask_padding),
        module=path,
        options={**options, "weights": weights or None, "mask_padding": mask_padding},
    )


class XaresModel(FrameworkModel):
    """An encoder that was written for X-ARES, see `FrameworkModel`."""

    rate = "sampling_rate"

    def measure_step(self) -> float:
        """Returns what the encoder states, in seconds."""
        return self.positive_number("hop_size_in_ms") / 1000

    def embed(self, waveform: Float[np.ndarray, "B S"]) -> Float[np.ndarray, "B T D"]:
        """Computes the embeddings of all time steps.

        Raises:
            InputError: They have another shape than the encoder states.
        """
        patches = self.array(self.run(self.model, waveform))
        width = int(self.positive_number("output_dim"))
        if patches.ndim != 3 or patches.shape[-1] != width:
            raise InputError(
                f"{self.name} gives embeddings of shape {list(patches.shape)}: they "
                f"must be [clips, time, features] with {width} features, its output_dim"
            )
        return patches
