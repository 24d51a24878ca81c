"""Damages the files of trained probes and one-bit files in memory."""

import json
import struct

import numpy as np
import safetensors.numpy

from unmute_jax.weights.digests import digest_of

LONE = json.loads(r'"\ud800"')


def contents(path):
    """The header of a safetensors file as JSON, and the bytes of its tensors."""
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def rewritten(source, target, key, change=None, *, tensors=None, digest=False):
    """Writes a changed copy of a file.

    Args:
        source: The file.
        target: The path of the copy.
        key: Name of the metadata that hold JSON.
        change: Function that changes this JSON in place, or returns text instead.
        tensors: Function that changes the dict of tensors in place.
        digest: Whether the copy gets a digest that fits; otherwise it has none.
    """
    header, _ = contents(source)
    about = json.loads(header["__metadata__"][key])
    text = change(about) if change else None
    stored = safetensors.numpy.load_file(source)
    if tensors:
        tensors(stored)
    metadata = {key: text if isinstance(text, str) else json.dumps(about)}
    if digest:
        metadata["digest"] = digest_of(metadata, stored)
    safetensors.numpy.save_file(stored, target, metadata)
    return target


def damaged(content, seed, count):
    """Yields (what, bytes): a file with bits flipped, bytes changed, or cut off."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        changed = bytearray(content)
        kind = ("a bit", "a byte", "cut", "left out", "more")[number % 5]
        at = int(rng.integers(len(content)))
        if kind == "a bit":
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == "a byte":
            changed[at] = (changed[at] + int(rng.integers(1, 256))) % 256
        elif kind == "cut":
            del changed[at:]
        elif kind == "left out":
            del changed[at : at + int(rng.integers(1, 9))]
        else:
            changed += bytes(rng.integers(0, 256, 1 + at % 9, np.uint8))
        yield f"{kind} at {at}", bytes(changed)
