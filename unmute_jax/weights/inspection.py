"""Describes what a weights file holds, in lines for people."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError, one_line
from unmute_jax.weights import converted, loading
from unmute_jax.weights.contents import first_few
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.files import WeightsFile
from unmute_jax.weights.inert import InertObject

_MAX_LINES, _MAX_DEPTH = 100, 8


def describe_file(file: WeightsFile, origins: Iterable[Origin]) -> Iterator[str]:
    """Yields what is in a file, and which encoders it fits.

    Args:
        file: File to describe, converted or not.
        origins: Origins of the encoders to try.
    """
    size = file.path.stat().st_size
    yield f"{file.path}: {_container(file)}, {size:,} bytes, SHA-256 {file.sha256}"
    for key, value in sorted(file.metadata.items()):
        yield f"  {one_line(key, 40)}: {one_line(value, 300)}"
    counts = Counter(
        (re.sub(r"\d+", "#", name), tensor.shape, tensor.dtype.name)
        for name, tensor in _tensors(file.content)
    )
    yield f"tensors: {sum(counts.values())} (# stands for a number)"
    for (name, shape, dtype), times in list(counts.items())[:_MAX_LINES]:
        often = f", {times} times" if times > 1 else ""
        yield f"  {one_line(name, 100)}: {list(shape)} {dtype}{often}"
    if len(counts) > _MAX_LINES:
        yield f"  ... and {len(counts) - _MAX_LINES} other kinds"
    for origin in origins:
        yield from _fit(origin, file)


def describe_weights(origin: Origin, weights: EncoderWeights) -> Iterator[str]:
    """Yields what of a file is used, what is not and why, and its licence."""
    numbers = sum(array.size for _, array in weights.leaves())
    yield f"{weights.description}; {weights.num_heads} heads; {numbers:,} parameters"
    yield f"  layout: {weights.layout}; {weights.used} tensors used"
    for reason, names in _by_reason(weights.ignored).items():
        yield f"  not used, {reason}: {one_line(first_few(names, 3), 300)}"
    yield f"  licence of the weights: {weights.licence}"
    yield f"  {origin.citation}; {origin.code}"


def _fit(origin: Origin, file: WeightsFile) -> Iterator[str]:
    try:
        weights = loading.from_file(origin, file)
        lines = list(describe_weights(origin, weights))
    except InputError as error:
        reason = str(error).removeprefix(str(file.path)).strip(" :")
        yield f"does not fit {origin.title}: {one_line(reason, 160)}"
        return
    yield "fits " + "\n".join(lines)


def _container(file: WeightsFile) -> str:
    if converted.is_converted(file):
        return "a converted encoder"
    return "safetensors" if file.is_safetensors else "a file of torch.save"


def _by_reason(ignored: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in ignored.items():
        reasons[reason].append(name)
    return dict(reasons)


def _tensors(content: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (path, tensor) of all tensors, except those that are nested too deep."""
    waiting: list[tuple[str, int, Any]] = [("", 0, content)]
    seen = set[int]()
    while waiting:
        path, depth, value = waiting.pop()
        if isinstance(value, np.ndarray):
            yield path, value
        if id(value) in seen or depth > _MAX_DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, InertObject):
            value = {"args": value.args, "state": value.state}
        if isinstance(value, list | tuple):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            start = f"{path}." if path else ""
            inner = [(f"{start}{k!s:.80}", depth + 1, v) for k, v in value.items()]
            waiting += reversed(inner)
