"""Saves a probe of one's own training loop as this library saves those of its runs."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unmute_jax.config import Experiment
from unmute_jax.datasets.dataset import Task
from unmute_jax.encoders import Encoder, Source
from unmute_jax.errors import InputError
from unmute_jax.probes import Probe, name_of, probe_options
from unmute_jax.results.trained import (
    TrainedProbe,
    check_trained,
    load_trained,
    write_trained,
)
from unmute_jax.store.key import as_json


def save_trained(
    probe: Probe,
    params: Mapping[str, Any],
    encoder: Source,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    *,
    clip_seconds: float,
    task: Task = "multi-label",
    dtype: str = "float32",
    validation: float = math.nan,
    seed: int = 0,
    protocol: str = "",
    settings: Experiment | None = None,
) -> TrainedProbe:
    """Saves a probe that was trained in your own loop.

        trained = uj.save_trained(
            probe, params, encoder, ["dog", "rain"], "mine.safetensors", clip_seconds=10
        )
        uj.predict("recordings", trained, encoder=encoder)

    `unmute predict --workdir mine.safetensors recordings/` reads the file as well, and
    so do `unmute diagnose` and `unmute export`.

    Args:
        probe: The probe, as `make_probe` returns it.
        params: Its parameters, a nested dictionary of float32 arrays: "params" of what
            `probe.init` returns.
        encoder: The encoder whose tokens the probe was trained on.
        classes: The names of the classes, in the order of the logits.
        path: The file to write, which ends in ".safetensors".
        clip_seconds: The length of the longest clip in seconds. Recordings are read in
            windows of this length.
        task: "multi-label", whose scores are sigmoids of the logits, or "single-label",
            whose scores are their softmax.
        dtype: The type that the tokens were rounded to: that of the token store, or
            "float32" for those that an encoder returns.
        validation: The score on the validation clips, from 0 to 1, if there is one.
        seed: The seed of the training.
        protocol: The name of the protocol (fold) of the data set, which `unmute
            diagnose` needs.
        settings: The experiment that opens the encoder and the data set again. By
            default the encoder is opened by its name, with its usual weights and
            options, and the data set is unknown. A probe of time steps needs
            `labels="frames"`.

    Returns:
        The trained probe, as `load_trained` reads it from the file.

    Raises:
        InputError: The probe is not one of this library, or its parameters, the
            classes or other values do not fit it or each other.
    """
    file = pathlib.Path(path).expanduser()
    if file.suffix != ".safetensors":
        raise InputError(f"{file}: the name of the file must end in .safetensors")
    if settings is None:
        weights = "untrained" if _is_untrained(encoder) else ""
        settings = Experiment(dataset="", encoder=encoder.name, weights=weights)
    name = name_of(probe)
    trained = TrainedProbe(
        name=name,
        options={o: getattr(probe, o) for o in sorted(probe_options(name))},
        params=_arrays(name, params),
        normaliser=None,
        classes=tuple(classes),
        task=task,
        encoder=as_json(encoder.identity()),
        encoder_description=encoder.description,
        geometry=encoder.geometry,
        dtype=dtype,
        dataset=settings.dataset,
        protocol=protocol,
        clip_seconds=float(clip_seconds),
        seed=seed,
        validation=float(validation),
        settings=dataclasses.replace(settings, probes=name).to_dict(),
    )
    if len(classes) != probe.num_classes:
        raise InputError(
            f"{len(classes)} classes are named, and probe {name!r} has "
            f"{probe.num_classes} logits"
        )
    check_trained(trained, str(file))
    return dataclasses.replace(
        load_trained(write_trained(file, trained)), settings=trained.settings
    )


def _is_untrained(encoder: Source) -> bool:
    return isinstance(encoder, Encoder) and encoder.weights.startswith("untrained")


def _arrays(probe: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as NumPy arrays, once all of them are finite."""
    if set(params) == {"params"}:
        raise InputError(
            f"the parameters of probe {probe!r} are the variables of a module: give "
            'variables["params"]'
        )
    arrays = {k: np.asarray(v) for k, v in flatten_dict(dict(params)).items()}
    for name, x in arrays.items():
        if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
            raise InputError(
                f"the parameter {'/'.join(name)} of probe {probe!r} is not finite: the "
                "training has diverged"
            )
    return unflatten_dict(arrays)
