"""Computes and checks digests that files carry, so that damage is noticed.

A digest guards against damage, not against malice: whoever changes a file on purpose
can compute its digest again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError


def sha256_of_array(array: np.ndarray) -> str:
    """Returns the SHA-256 of the bytes of an array, as hexadecimal digits.

    Args:
        array: Array of any type, contiguous in memory.
    """
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def sha256_of_json(value: Any) -> str:
    """Returns the SHA-256 of a JSON value in its canonical form, with sorted names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_of(
    metadata: Mapping[str, str],
    tensors: Mapping[str, np.ndarray],
) -> str:
    """Returns the digest of the content of a safetensors file.

    Args:
        metadata: Metadata of the file; its entry "digest" is left out.
        tensors: Tensors by their names. Their types are not part of the digest.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    hashes = {name: sha256_of_array(tensor) for name, tensor in tensors.items()}
    return digest_of_hashes(metadata, shapes, hashes)


def digest_of_hashes(
    metadata: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    hashes: Mapping[str, str],
) -> str:
    """Returns the digest of a safetensors file whose tensors are hashed already.

    Args:
        metadata: Metadata of the file; its entry "digest" is left out.
        shapes: Shapes of the tensors by their names.
        hashes: `sha256_of_array` of the tensors by their names.
    """
    others = {key: value for key, value in metadata.items() if key != "digest"}
    listed = {name: [list(shapes[name]), hashes[name]] for name in shapes}
    return sha256_of_json([others, listed])


def check_digest(
    metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray], where: str
) -> None:
    """Compares the digest in the metadata of a safetensors file with its content.

    Args:
        metadata: Metadata of the file.
        tensors: Tensors by their names.
        where: The file, for the message.

    Raises:
        InputError: They differ, or there is no digest.
    """
    if metadata.get("digest") != digest_of(metadata, tensors):
        raise InputError(
            f"{where} was altered or damaged after it was written: its digest differs"
        )
