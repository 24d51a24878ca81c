"""Saves and loads trained probes, one small file each.

A run writes `probes/PROBE-PROTOCOL-seedK.safetensors` in its folder. A file holds the
parameters and, as JSON, everything needed to use them: the probe and its options, the
classes, and the tokens that it was trained on.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util
from jaxtyping import Array, Float

from unmute_jax import probes
from unmute_jax.encoders import Encoder, Geometry
from unmute_jax.errors import InputError, one_line, unknown_name
from unmute_jax.io import fitting, refuse_lfs_pointer, write_atomically
from unmute_jax.results.places import with_places, without_places
from unmute_jax.results.record import finite
from unmute_jax.results.trained_check import (
    check_normaliser,
    check_options,
    check_params,
    check_tokens,
    check_values,
)
from unmute_jax.results.typed_json import as_dataclass, as_type, parse_object
from unmute_jax.store.key import as_json
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.tokens import Tokens, summarise, summarise_layers, without_bands
from unmute_jax.weights.digests import check_digest, digest_of

# Version 2 has a digest. Raised whenever an older version could not read the files.
FORMAT = 2
_KEY = "unmute_jax"
# What the names of tensors begin with. The second is older than the class.
_PARAMS, _NORMALISER = "params/", "standardiser/"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedProbe:
    """A probe after training, and what it was trained on.

    Attributes:
        name: Name of the probe, as for `make_probe`.
        options: All options of the probe.
        params: Nested dict of float32 arrays.
        normaliser: Normaliser that is applied to the tokens first; None without one.
        classes: Names of the classes, in the order of the logits.
        task: "multi-label" or "single-label".
        encoder: `Encoder.identity` of the encoder of the tokens.
        encoder_description: The encoder and its weights in words.
        geometry: Places of the tokens in time and frequency.
        dtype: Type that the tokens were stored in, and rounded to.
        dataset: Name of the data set.
        protocol: Name of the protocol.
        clip_seconds: Length of the longest clip.
        seed: Seed of the training.
        validation: Score on the validation split; NaN if the training diverged.
        settings: All settings of the run. The places of data and weights are known
            where the probe was loaded from the folder of its run (see `places`).
    """

    name: str
    options: dict[str, Any]
    params: Any
    normaliser: FeatureNormaliser | None
    classes: tuple[str, ...]
    task: str
    encoder: dict[str, Any]
    encoder_description: str
    geometry: Geometry
    dtype: str
    dataset: str
    protocol: str
    clip_seconds: float
    seed: int
    validation: float
    settings: dict[str, Any]

    @property
    def probe(self) -> probes.Probe:
        """The Flax module that `params` belong to."""
        return probes.make_probe(
            self.name, num_classes=len(self.classes), **self.options
        )

    @property
    def is_framewise(self) -> bool:
        """Whether it was trained on labels of time steps."""
        return self.settings.get("labels") == "frames"

    @property
    def reading(self) -> probes.Reading:
        """What the probe reads of the clips."""
        return self.probe.reads(of_steps=self.is_framewise)

    @property
    def file_name(self) -> str:
        """The name of its file, `PROBE-PROTOCOL-seedK.safetensors`."""
        parts = (self.name, self.protocol, f"seed{self.seed}")
        return "-".join(_plain(part) for part in parts) + ".safetensors"

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuses an encoder other than that of the training.

        Raises:
            InputError: The encoders differ; the message names the first difference.
        """
        check_identity(
            as_json(encoder.identity()), self.encoder, f"probe {self.name!r}"
        )

    def prepare(self, tokens: Tokens) -> Any:
        """Turns tokens of the encoder into what the probe read in training.

        Raises:
            InputError: The tokens are of another shape.
        """
        check_tokens(self.probe, _flat(self.params), tokens, f"probe {self.name!r}")
        kind, layer = self.reading
        if layer is not None and tokens.layer is None:
            tokens = tokens.of_layer(layer)
        # Summaries are computed before the tokens are rounded for the store.
        if kind == "layer_summary":
            return without_bands(summarise_layers(tokens.floats()))
        inputs = (
            summarise(tokens.floats())
            if kind == "summary"
            else _rounded(tokens, self.dtype)
        )
        if self.normaliser is None:
            return inputs
        return jax.tree.map(jnp.asarray, self.normaliser.apply(jax.device_get(inputs)))

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """Logits of clips, as the run computed them.

        Args:
            tokens: Tokens of an encoder that `check_encoder` accepts, or of the store.
        """
        return self._apply(self.params, self.prepare(tokens))

    def apply(self, params: Any, inputs: Any) -> Float[Array, "B C"]:
        """`logits` as a pure function of the parameters and what `prepare` returns.

        For a probe that was trained on time steps, it is the highest logit of the valid
        ones.
        """
        if not self.is_framewise:
            return jnp.asarray(self.probe.apply({"params": params}, inputs))
        frames, mask = self.apply_frames(params, inputs), jnp.asarray(inputs.mask)
        # A clip without any valid step still gets finite logits.
        counts = mask | ~mask.any(1, keepdims=True)
        return jnp.where(counts[:, :, None], frames, -jnp.inf).max(1)

    def apply_frames(self, params: Any, inputs: Any) -> Float[Array, "B T C"]:
        """Logits of all time steps, of a probe that was trained on time steps.

        Args:
            params: The parameters.
            inputs: What `prepare` returns.
        """
        frames = self.probe.apply({"params": params}, inputs, method="frames")
        return jnp.asarray(frames)

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.apply)


_rounded = jax.jit(Tokens.rounded, static_argnames="dtype")


def check_identity(found: dict[str, Any], wanted: dict[str, Any], what: str) -> None:
    """Compares the identities of two encoders, both as plain JSON.

    Raises:
        InputError: They differ; the message names the first difference.
    """
    for key in {**wanted, **found}:
        if found.get(key) != wanted.get(key):
            raise InputError(
                f"{what} was trained on tokens of another encoder: {key} was "
                f"{wanted.get(key)!r:.80}, and is {found.get(key)!r:.80}"
            )


def write_trained(path: str | os.PathLike[str], trained: TrainedProbe) -> pathlib.Path:
    """Writes a trained probe to a file.

    Returns:
        The path of the file, whose name is shortened where it is too long for the disk.
    """
    about = {
        f.name: getattr(trained, f.name)
        for f in dataclasses.fields(trained)
        if f.name not in ("params", "normaliser", "geometry")
    }
    about |= {
        "format": FORMAT,
        "geometry": dataclasses.asdict(trained.geometry),
        "settings": without_places(trained.settings),
        "validation": finite(trained.validation),
    }
    tensors = {f"{_PARAMS}{k}": v for k, v in _flat(trained.params).items()}
    if trained.normaliser is not None:
        values = dataclasses.asdict(trained.normaliser)
        tensors |= {f"{_NORMALISER}{k}": v for k, v in _flat(values).items()}
    path = fitting(pathlib.Path(path))
    metadata = {_KEY: json.dumps(about, sort_keys=True, allow_nan=False)}
    metadata["digest"] = digest_of(metadata, tensors)
    write_atomically(path, safetensors.numpy.save(tensors, metadata))
    return path


def load_trained(
    workdir: str | os.PathLike[str],
    *,
    probe: str | None = None,
    seed: int | None = None,
    protocol: str | None = None,
) -> TrainedProbe:
    """Loads a trained probe of a finished run.

    Args:
        workdir: The folder of the run, or one of its probe files.
        probe: Name of the probe; needed if the run trained several.
        seed: Seed of the training; by default the one with the best validation score.
        protocol: Name of the protocol; by default the one with the best validation
            score.

    Raises:
        InputError: There is no such probe, or its file is damaged, or written by a
            newer version.
    """
    place = pathlib.Path(workdir).expanduser()
    if place.is_file():
        return _located(place)
    if not place.exists():
        raise InputError(f"{place}: there is no such folder")
    files = sorted((place / "probes").glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{place} holds no trained probes: give the folder of a finished run "
            "(a run of a version without these files has to be run again)"
        )
    found = [_located(file) for file in files]
    names = list(dict.fromkeys(t.name for t in found))
    if probe is None and len(names) > 1:
        raise InputError(f"{place} holds several probes, name one: {', '.join(names)}")
    wanted = {"name": probe, "seed": seed, "protocol": protocol}
    for key, value in wanted.items():
        if value is not None:
            have = [getattr(t, key) for t in found]
            if value not in have:
                what = "probe" if key == "name" else key
                raise unknown_name(what, str(value), map(str, have), place)
            found = [t for t in found if getattr(t, key) == value]
    # A training that diverged is worse than all others.
    return max(
        found,
        key=lambda t: t.validation if math.isfinite(t.validation) else -math.inf,
    )


def _located(path: pathlib.Path) -> TrainedProbe:
    """Reads a probe, whose settings say where its data are if its run is there."""
    trained = _read(path)
    settings = with_places(trained.settings, path)
    return dataclasses.replace(trained, settings=settings)


def _read(path: pathlib.Path) -> TrainedProbe:
    where = os.fspath(path)
    about, tensors = _content(path)
    geometry = as_type(about.get("geometry"), dict, f"{where}: geometry")
    params, normaliser = _under(_PARAMS, tensors), _under(_NORMALISER, tensors)
    trained = as_dataclass(
        TrainedProbe,
        {
            **about,
            "geometry": as_dataclass(Geometry, geometry, f"{where}: geometry"),
            "params": _nested(params),
            "normaliser": None,
        },
        where,
    )
    mean = normaliser.get("token_mean")
    features = mean.size if mean is not None else None
    check_trained(trained, where, features)
    if not normaliser:
        return trained
    bands = len(trained.geometry.frequency_edges_hz)
    check_normaliser(normaliser, bands, features or 0, f"{where}: the normaliser")
    restored = FeatureNormaliser.from_arrays(_nested(normaliser))
    return dataclasses.replace(trained, normaliser=restored)


def check_trained(
    trained: TrainedProbe, where: str, features: int | None = None
) -> None:
    """Checks that the values, options and parameters of a probe fit each other.

    Args:
        trained: The trained probe.
        where: Its file, for messages.
        features: D, the width of the tokens; None if it is unknown.

    Raises:
        InputError: They do not.
    """
    check_values(trained, where)
    probe = check_options(trained.name, len(trained.classes), trained.options, where)
    what = f"{where}: probe {trained.name!r} with {len(trained.classes)} classes"
    bands = len(trained.geometry.frequency_edges_hz)
    check_params(probe, _flat(trained.params), bands, features, what)


def _content(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the header and the tensors of a file, which are as they were written."""
    problem = f"{path} is not the file of a trained probe, or it is damaged"
    refuse_lfs_pointer(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    # Damaged files, and tensors that NumPy cannot hold, fail in many ways.
    except Exception as error:
        raise InputError(f"{problem} ({one_line(str(error), 100)})") from error
    if not {_KEY} <= metadata.keys() <= {_KEY, "digest"}:
        raise InputError(problem)
    about = parse_object(metadata[_KEY], problem)
    version = as_type(about.pop("format", None), int, f"{path}: format")
    if version > FORMAT:
        raise InputError(f"{path} was written by a newer version: update unmute-jax")
    if version < 1:
        raise InputError(problem)
    # Files of the first version had no digest.
    if version > 1 or "digest" in metadata:
        check_digest(metadata, tensors, os.fspath(path))
    others = [name for name in tensors if not name.startswith((_PARAMS, _NORMALISER))]
    if others:
        raise InputError(f"{path}: has the unknown tensor {one_line(others[0], 80)!r}")
    return about, tensors


def _under(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _flat(tree: Any) -> dict[str, np.ndarray]:
    flat = traverse_util.flatten_dict(tree, sep="/")
    return {k: np.ascontiguousarray(v) for k, v in flat.items()}


def _nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(flat, sep="/")


def _plain(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9+.]+", "-", part)
