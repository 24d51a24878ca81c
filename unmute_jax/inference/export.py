"""Exports a trained protobin as a small file with one bit per prototype weight.

The module `one_bit` describes the file and reads it without JAX. `load_exported` loads
the same file as a `TrainedProbe` for batches of clips.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, Literal, cast, get_args

import numpy as np
import safetensors.numpy

from unmute_jax.encoders import Encoder, Geometry
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.inference import one_bit
from unmute_jax.io import write_atomically
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.weights.digests import digest_of

Dense = Literal["float16", "int8"]
# Attributes of `TrainedProbe` that the file contains under the same names.
_COPIED = ("clip_seconds", "dtype", "dataset", "protocol", "seed", "validation")


def export_probe(
    trained: TrainedProbe, path: str | os.PathLike[str], *, dense: str = "float16"
) -> dict[str, int]:
    """Exports a trained protobin.

    The signs are exact. The relative error of a weight of the dense layer is at most
    2^-11 in float16; in int8 its error is at most 1/254 of the largest weight of its
    class. As similarities lie in [-1, 1], the error of a logit is at most the sum of
    these errors over the prototypes.

    Args:
        trained: The trained probe, as returned by `load_trained`.
        path: The file to write.
        dense: The type of the dense layer, "float16" or "int8".

    Returns:
        The number of bytes of the `prototypes`, the `dense` layer, and the whole
        `file`.

    Raises:
        InputError: The probe is not protobin, it was trained on time steps or on a
            weighted mean of layers, or the type is unknown.
    """
    if trained.name != "protobin":
        raise InputError(
            f"only protobin has one-bit prototypes; this probe is {trained.name!r}"
        )
    if trained.is_framewise:
        raise InputError(
            "this probe was trained on time steps (config.labels=frames); a one-bit "
            "file is for probes of whole clips"
        )
    layers = str(trained.options.get("layers", "last"))
    if layers == "learned":
        raise InputError(
            "this probe reads a mean of all layers with learned weights "
            "(layers=learned), which needs products with floating-point numbers: a "
            "one-bit file is for layers=last, all or one number"
        )
    if dense not in get_args(Dense):
        raise unknown_name("type of the dense layer", dense, get_args(Dense))
    prototypes = np.asarray(trained.params["prototypes"])
    tensors = {
        # As in `probes.prototypes.sign`, both zeros count as +1.
        "signs": np.packbits(prototypes >= 0, axis=1),
        **_dense_layer(trained.params["classifier"], cast(Dense, dense)),
    }
    if trained.normaliser is not None:
        tensors["token_mean"] = np.asarray(trained.normaliser.token_mean, np.float32)
        tensors["token_sd"] = np.asarray(trained.normaliser.token_sd, np.float32)
    about = {
        "format": one_bit.FORMAT,
        "layers": layers,
        "features": prototypes.shape[1],
        "classes": list(trained.classes),
        "task": trained.task,
        "encoder": trained.encoder,
        "encoder_description": trained.encoder_description,
        "seconds_per_step": trained.geometry.seconds_per_step,
        "frequency_edges_hz": trained.geometry.frequency_edges_hz,
        **{key: getattr(trained, key) for key in _COPIED},
    }
    if not math.isfinite(trained.validation):
        # JSON has no NaN, which is the score of a training that diverged.
        about["validation"] = None
    metadata = {one_bit.KEY: json.dumps(about, sort_keys=True, allow_nan=False)}
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    metadata["digest"] = digest_of(metadata, tensors)
    content = safetensors.numpy.save(tensors, metadata)
    write_atomically(path, content)
    sizes = {name: x.nbytes for name, x in tensors.items()}
    signs = sizes.pop("signs")
    return {"prototypes": signs, "dense": sum(sizes.values()), "file": len(content)}


def _dense_layer(layer: dict[str, Any], dense: Dense) -> dict[str, np.ndarray]:
    weights = np.asarray(layer["kernel"], np.float32).T
    bias = {"bias": np.asarray(layer["bias"], np.float32)}
    if dense == "float16":
        return {"weights": weights.astype(np.float16), **bias}
    scale = np.maximum(np.abs(weights).max(1), np.finfo(np.float32).tiny) / 127
    rounded = np.rint(weights / scale[:, None]).astype(np.int8)
    return {"weights": rounded, "weight_scale": scale.astype(np.float32), **bias}


def load_exported(
    path: str | os.PathLike[str], encoder: Encoder | None = None
) -> TrainedProbe:
    """Loads an exported probe in float32, for batches of clips.

    Args:
        path: The exported file.
        encoder: The encoder of the tokens, which is compared with that of the
            training; None to leave that to `TrainedProbe.check_encoder`.

    Raises:
        InputError: The file is missing, damaged or written by a newer version, or the
            probe was trained on tokens of another encoder.
    """
    try:
        probe = one_bit.load(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from None
    except ValueError as error:
        raise InputError(str(error)) from None
    about, arrays = probe.about, probe.arrays()
    if about["validation"] is None:
        about["validation"] = math.nan
    trained = TrainedProbe(
        name="protobin",
        options={
            "prototypes_per_class": len(arrays["signs"]) // len(probe.classes),
            "layers": probe.layers,
        },
        params={
            "prototypes": arrays["signs"],
            "classifier": {"kernel": arrays["weights"].T, "bias": arrays["bias"]},
        },
        normaliser=_make_normaliser(arrays),
        classes=tuple(probe.classes),
        task=probe.task,
        encoder=probe.encoder,
        encoder_description=about["encoder_description"],
        geometry=Geometry(
            seconds_per_step=about["seconds_per_step"],
            frequency_edges_hz=tuple(
                (low, high) for low, high in about["frequency_edges_hz"]
            ),
        ),
        settings={},
        **{key: about[key] for key in _COPIED},
    )
    if encoder is not None:
        trained.check_encoder(encoder)
    return trained


def _make_normaliser(arrays: dict[str, np.ndarray]) -> FeatureNormaliser | None:
    """The normaliser of the tokens, which are all that protobin reads."""
    if "token_mean" not in arrays:
        return None
    return FeatureNormaliser.of_tokens(arrays["token_mean"], arrays["token_sd"])
