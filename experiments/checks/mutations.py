"""Damages the bytes of files in the ways in which files are damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Values at which sizes and counts in headers go wrong.
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER = 128


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _change_header(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        changed[rng.integers(min(len(data), _HEADER))] = int(rng.integers(256))
    return bytes(changed)


def _extreme_field(data: bytes, rng: np.random.Generator) -> bytes:
    width = int(rng.choice([1, 2, 4, 8]))
    value = int(rng.choice(_EXTREMES)) & ((1 << 8 * width) - 1)
    order = "little" if rng.random() < 0.5 else "big"
    at = int(rng.integers(max(1, min(len(data), _HEADER) - width)))
    return data[:at] + value.to_bytes(width, order) + data[at + width :]


def _cut_end(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _cut_few(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: -int(rng.integers(1, 64))]


def _cut_begin(data: bytes, rng: np.random.Generator) -> bytes:
    return data[rng.integers(1, len(data)) :]


def _leave_out(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(len(data), size=2))
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(len(data), size=2))
    return data[:end] + data[start:]


def _insert_noise(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 2000))) + data[at:]


def _erase(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(len(data), size=2))
    return data[:start] + bytes(end - start) + data[end:]


def _append_noise(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 2000)))


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "some bits flipped": _flip_bits,
    "bytes of the header changed": _change_header,
    "a field of the header at an extreme": _extreme_field,
    "cut at the end": _cut_end,
    "a few bytes cut at the end": _cut_few,
    "cut at the beginning": _cut_begin,
    "a part left out": _leave_out,
    "a part repeated": _repeat,
    "noise inserted": _insert_noise,
    "a part erased": _erase,
    "noise at the end": _append_noise,
}
SPLICED = "the end of another file"


def mutate(
    files: Sequence[bytes], chosen: int, rng: np.random.Generator
) -> tuple[str, bytes]:
    """Damages one of several files.

    Args:
        files: The contents of sound files, none of them empty.
        chosen: The index of the one that is damaged.
        rng: The source of all choices.

    Returns:
        The name of the mutation, and the content after it.
    """
    data = files[chosen]
    name = str(rng.choice([*MUTATIONS, SPLICED]))
    if name != SPLICED:
        return name, MUTATIONS[name](data, rng)
    other = files[int(rng.integers(len(files)))]
    start, end = int(rng.integers(len(data))), int(rng.integers(len(other)))
    return name, data[:start] + other[end:]
