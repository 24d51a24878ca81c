"""Damages safetensors files part by part: header, metadata, tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from experiments.checks import mutated_json
from unmute_jax.weights.digests import digest_of

Tensors = dict[str, np.ndarray]
_ODD_NAMES = ("", "../outside", "params/", "a/b", "\0", "é", "x" * 70_000, "[/b]\n")


def take_apart(data: bytes) -> tuple[dict[str, str], Tensors]:
    """Returns the metadata and the tensors of a file."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return metadata, safetensors.numpy.load(data)


def put_together(metadata: dict[str, str], tensors: Tensors, sealed: bool) -> bytes:
    """Returns a file, whose digest is computed again if it is sealed."""
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    if sealed and "digest" in metadata:
        metadata = {**metadata, "digest": digest_of(metadata, tensors)}
    return safetensors.numpy.save(tensors, metadata)


def change_header(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes the JSON header of a file, and nothing else."""
    length = int.from_bytes(data[:8], "little")
    name, header = mutated_json.change(json.loads(data[8 : 8 + length]), rng)
    text = mutated_json.encode(header)
    if rng.random() < 0.1:
        length = int(rng.choice([0, 1, len(text) - 1, len(text) + 1, 2**40, 2**63 - 1]))
    else:
        length = len(text)
    return f"header: {name}", length.to_bytes(8, "little") + text + _body(data)


def _body(data: bytes) -> bytes:
    return data[8 + int.from_bytes(data[:8], "little") :]


def change_entry(
    data: bytes, entry: str, rng: np.random.Generator, *, sealed: bool
) -> tuple[str, bytes]:
    """Changes the JSON in one entry of the metadata."""
    metadata, tensors = take_apart(data)
    name, value = mutated_json.change(json.loads(metadata[entry]), rng)
    metadata = {**metadata, entry: mutated_json.encode(value).decode()}
    return f"metadata: {name}", put_together(metadata, tensors, sealed)


def change_tensors(
    data: bytes, rng: np.random.Generator, *, sealed: bool
) -> tuple[str, bytes]:
    """Changes the tensors of a file, which remains a valid one."""
    metadata, tensors = take_apart(data)
    name = str(rng.choice(list(CHANGES)))
    key = str(rng.choice(list(tensors)))
    CHANGES[name](tensors, key, rng)
    return f"tensors: {name}", put_together(metadata, tensors, sealed)


def _renamed(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    tensors[str(rng.choice([*_ODD_NAMES, key + "2"]))] = tensors.pop(key)


def _left_out(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    del tensors[key]


def _added(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    tensors[str(rng.choice([*_ODD_NAMES, key + "2"]))] = tensors[key]


def _exchanged(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    other = str(rng.choice(list(tensors)))
    tensors[key], tensors[other] = tensors[other], tensors[key]


def _reshaped(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    x = tensors[key]
    shapes = [x.shape[::-1], (x.size,), (1, *x.shape), (*x.shape, 1), (0, *x.shape[1:])]
    shape = shapes[int(rng.integers(len(shapes)))]
    tensors[key] = np.resize(x, shape)


def _cut(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    x = tensors[key]
    tensors[key] = x[:-1] if x.ndim and rng.random() < 0.5 else x[..., :1]


def _other_type(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    kinds: list[Any] = [np.float16, np.float64, np.int32, np.uint8, np.bool_, np.int64]
    kind = [*kinds, ml_dtypes.bfloat16][int(rng.integers(len(kinds) + 1))]
    with np.errstate(all="ignore"):
        tensors[key] = tensors[key].astype(kind)


def _not_finite(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    x = tensors[key].copy()
    if x.size and np.issubdtype(x.dtype, np.floating):
        x.flat[int(rng.integers(x.size))] = rng.choice([np.nan, np.inf, -np.inf])
    tensors[key] = x


def _other_numbers(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    with np.errstate(all="ignore"):
        tensors[key] = (tensors[key].astype(np.float64) * -3 + 1).astype(
            tensors[key].dtype
        )


def _many_axes(tensors: Tensors, key: str, rng: np.random.Generator) -> None:
    x = tensors[key]
    tensors[key] = x.reshape((1,) * int(rng.integers(1, 64 - x.ndim)) + x.shape)


CHANGES: dict[str, Callable[[Tensors, str, np.random.Generator], None]] = {
    "one under another name": _renamed,
    "one left out": _left_out,
    "one added": _added,
    "two exchanged": _exchanged,
    "one of another shape": _reshaped,
    "one cut": _cut,
    "one of another type": _other_type,
    "one not finite": _not_finite,
    "one with other numbers": _other_numbers,
    "one with many axes": _many_axes,
}
