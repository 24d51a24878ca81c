"""Checks that the values and tensors in the file of a trained probe fit each other.

The file does not state the width of the tokens. Tensors fit if there is a width for
which a probe with the stated options and classes has tensors of these shapes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from unmute_jax import probes
from unmute_jax.datasets.dataset import Task
from unmute_jax.encoders.token_arrays import check_edges
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.store.key import DTYPES
from unmute_jax.tokens import Summary, Tokens, summarise

_TASKS = typing.get_args(Task)
# Longer than any recording that can be a clip: half a year.
_LONGEST_SECONDS = 2**24
# Tensor -> shape.
Shapes = dict[str, tuple[int, ...]]
# Options that would keep JAX busy for ever if a file stated a huge number: those that
# count layers, each with tensors of its own, and one that is the length of an axis.
_LAYERS, _LENGTHS = ("depth", "hidden_layers"), ("kernel_size",)
# A number of time steps that every probe accepts; no tensor depends on it.
_STEPS = 64


class Sizes(NamedTuple):
    """What the shapes of parameters depend on besides the probe itself.

    Attributes:
        clips: Number of clips that a fitted probe was fitted to; 1 for others.
        layers: L, the number of layers; 1 for probes that read the last layer.
        bands: F, the number of frequency bands of the tokens.
        features: D, the width of the tokens.
    """

    clips: int
    layers: int
    bands: int
    features: int


def check_values(trained: Any, where: str) -> None:
    """Checks what a probe was trained on, of which the types are right already.

    Args:
        trained: A `TrainedProbe`.
        where: The file, for messages.

    Raises:
        InputError: A value is impossible.
    """
    classes, geometry = trained.classes, trained.geometry
    if not classes or len(set(classes)) < len(classes):
        raise InputError(f"{where}: classes must be different names, at least one")
    if trained.task not in _TASKS:
        raise unknown_name("task", trained.task, _TASKS, where)
    if trained.dtype not in DTYPES:
        raise unknown_name("dtype", trained.dtype, DTYPES, where)
    check_edges(where, geometry.frequency_edges_hz)
    numbers = {
        "geometry.seconds_per_step": geometry.seconds_per_step,
        "clip_seconds": trained.clip_seconds,
    }
    for name, seconds in numbers.items():
        if not 0 < seconds <= _LONGEST_SECONDS:
            raise InputError(f"{where}: {name} is {seconds}, which is impossible")
    if not 0 <= trained.validation <= 1 and not math.isnan(trained.validation):
        raise InputError(
            f"{where}: validation is {trained.validation}, and must lie between 0 and 1"
        )


def check_options(
    name: str, num_classes: int, options: dict[str, Any], where: str
) -> probes.Probe:
    """Checks the types of the options, and returns the probe.

    Args:
        name: Name of the probe.
        num_classes: Number of classes.
        options: Options of the probe.
        where: The file, for messages.

    Raises:
        InputError: The probe or an option is unknown, or an option has a wrong value.
    """
    try:
        hints = typing.get_type_hints(type(probes.make_probe(name, num_classes=1)))
        known, typed = probes.probe_options(name), dict(options)
        for option in options.keys() & known:
            typed[option] = _option(option, options[option], _types(hints[option]))
        return probes.make_probe(name, num_classes=num_classes, **typed)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def check_params(
    probe: probes.Probe,
    params: Mapping[str, np.ndarray],
    bands: int,
    features: int | None,
    what: str,
) -> None:
    """Checks the parameters of a probe.

    Args:
        probe: The probe.
        params: Parameters by their paths, such as "classifier/kernel".
        bands: F, the number of frequency bands of the tokens.
        features: D, the width of the tokens; None if it is unknown.
        what: The probe and its file in words, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of another shape or type.
    """
    found = _shapes(params)
    best: tuple[int, Shapes] | None = None
    if _is_possible(probe, found):
        for sizes in _sizes(probe, found, bands, features):
            needed = _needed(cast(Any, probe), sizes)
            if needed == found:
                _check_types(params, what)
                return
            agree = sum(needed.get(name) == shape for name, shape in found.items())
            if needed and (best is None or agree > best[0]):
                best = agree, needed
    if best is None:
        raise InputError(f"{what} cannot have these tensors")
    raise _difference(found, best[1], what)


def check_tokens(
    probe: probes.Probe, params: Mapping[str, np.ndarray], tokens: Tokens, what: str
) -> None:
    """Checks that a probe was trained on tokens of the shape of these.

    Args:
        probe: The probe.
        params: Parameters by their paths, such as "classifier/kernel".
        tokens: The tokens.
        what: The probe in words, for messages.

    Raises:
        InputError: The parameters are for tokens of another shape.
    """
    if probe.reads().needs_layers and tokens.layers is None:
        return  # What was taken of the layers, the probe itself checks.
    bands, features = tokens.patches.shape[2:]
    layers = 1 if tokens.layers is None else tokens.layers.shape[1]
    found = _shapes(params)
    clips = found.get("vectors", (1,))[0]
    needed = _needed(cast(Any, probe), Sizes(clips, layers, bands, features))
    if needed != found:
        raise InputError(
            f"{what} was trained on other tokens than these, which have {features} "
            f"features in each of {bands} frequency bands"
        )


def check_normaliser(
    tensors: Mapping[str, np.ndarray], bands: int, features: int, what: str
) -> None:
    """Checks the tensors of the normaliser of the tokens.

    Args:
        tensors: Tensors by their paths, such as "summary_mean/cls".
        bands: F, the number of frequency bands of the tokens.
        features: D, the width of the tokens.
        what: The normaliser and its file in words, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of another shape or type.
    """
    needed: Shapes = {"token_mean": (features,), "token_sd": (features,)}
    for field in dataclasses.fields(Summary):
        per_band = (bands,) if field.name.startswith("band_") else ()
        for part in ("summary_mean", "summary_sd"):
            needed[f"{part}/{field.name}"] = (1, *per_band, features)
    if (found := _shapes(tensors)) != needed:
        raise _difference(found, needed, what)
    _check_types(tensors, what)


def _difference(found: Shapes, needed: Shapes, what: str) -> InputError:
    """Returns the error about the first of some differences in shapes."""
    names = sorted(found | needed)
    name = next(name for name in names if found.get(name) != needed.get(name))
    if name not in needed:
        return InputError(f"{what} cannot have a tensor {name!r:.80}")
    if name not in found:
        return InputError(f"{what} lacks its tensor {name}")
    return InputError(
        f"{what} has the tensor {name} of shape {list(found[name])}, which must be "
        f"{list(needed[name])}"
    )


@functools.lru_cache(maxsize=512)
def _needed(probe: Any, sizes: Sizes) -> Shapes:
    """Returns the shapes of all parameters of a probe; none if it cannot have any."""

    def variables() -> Any:
        clips, layers, bands, features = sizes
        shape = (_STEPS, bands, features)
        tokens = Tokens(
            patches=jnp.zeros((clips, *shape)),
            cls=jnp.zeros((clips, features)),
            mask=jnp.ones((clips, _STEPS), bool),
        )
        if probe.reads().needs_layers:
            tokens = dataclasses.replace(
                tokens,
                layers=jnp.zeros((clips, layers, *shape)),
                layer_cls=jnp.zeros((clips, layers, features)),
            )
        if probe.is_fitted:
            labels = jnp.zeros((clips, probe.num_classes))
            return probe.fit(summarise(tokens), labels)
        return probe.init(jax.random.key(0), tokens)

    try:
        params = jax.eval_shape(variables)["params"]
    # Of sizes that are impossible, JAX and Flax complain in any way.
    except Exception:
        return {}
    flat: dict[str, Any] = traverse_util.flatten_dict(params, sep="/")
    return _shapes(flat)


def _shapes(tensors: Mapping[str, Any]) -> Shapes:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _is_possible(probe: probes.Probe, found: Shapes) -> bool:
    """Whether there are enough tensors for the options that count them."""
    longest = max((n for shape in found.values() for n in shape), default=0)
    return all(
        getattr(probe, option, 0) <= most
        for options, most in ((_LAYERS, len(found)), (_LENGTHS, longest))
        for option in options
    )


def _sizes(
    probe: probes.Probe, found: Shapes, bands: int, features: int | None
) -> Iterator[Sizes]:
    """Yields the sizes of tokens that tensors of these shapes may show."""
    lengths = sorted({n for shape in found.values() for n in shape if n}, reverse=True)
    # Some probes read statistics of all tokens, or of each band, side by side.
    widths = dict.fromkeys(
        n // k for k in (1, 2, 3, bands, 3 * bands) for n in lengths if n % k == 0
    )
    chosen: int | None = getattr(probe, "layer_index", None)
    for width in (features,) if features else widths:
        beside = [k * width for k in (1, 2, 3)]
        layers = (n // k for k in beside for n in lengths if n % k == 0)
        depths = [1]
        if probe.reads().needs_layers:
            # The shapes do not tell of how many layers one was chosen.
            depths = [*lengths, *layers, 1] if chosen is None else [abs(chosen) + 1]
        for depth in dict.fromkeys(depths):
            for clips in lengths if probe.is_fitted else (1,):
                yield Sizes(clips, depth, bands, width)


def _option(name: str, value: Any, wanted: set[type]) -> Any:
    if float in wanted and type(value) is int and abs(value) < 1 << 63:
        return float(value)
    if type(value) not in wanted:
        raise InputError(f"option {name} cannot be {value!r:.60}")
    return value


def _types(hint: Any) -> set[type]:
    """Returns the types of the values that a type hint allows."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return {kind for part in typing.get_args(hint) for kind in _types(part)}
    if typing.get_origin(hint) is Literal:
        return {type(value) for value in typing.get_args(hint)}
    return {hint}


def _check_types(tensors: Mapping[str, np.ndarray], what: str) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise InputError(
                f"{what} has the tensor {name} of type {tensor.dtype}, which must be "
                "float32"
            )
