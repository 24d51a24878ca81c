"""Writes and reads converted weights: one safetensors file that says what it is.

The tensors are the parameters in float32, each under its path in the tree. The metadata
name the encoder, its sizes, the source file and its SHA-256, the front end and the
licence. They also hold a digest of all of this and of the tensors, so that a file that
was altered is refused.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.io import writing
from unmute_jax.weights.contents import first_few, positive_int
from unmute_jax.weights.digests import (
    digest_of,
    digest_of_hashes,
    sha256_of_array,
)
from unmute_jax.weights.encoder_weights import (
    EncoderWeights,
    Origin,
    check_heads,
    describe,
    training_of,
)
from unmute_jax.weights.files import WeightsFile, release_pages
from unmute_jax.weights.mapping import Leaf, Shape, check_finite

FORMAT, FORMAT_VERSION = "unmute_jax encoder", 1
# The format wants the tensors to begin at a multiple of this number of bytes.
_ALIGNMENT = 8


def is_converted(file: WeightsFile) -> bool:
    """Whether the file says that `write` wrote it."""
    return file.metadata.get("format") == FORMAT


def metadata_of(
    origin: Origin, weights: EncoderWeights, source: WeightsFile, front_end: Any
) -> dict[str, str]:
    """Returns the metadata of a converted file, without its digest.

    Args:
        origin: Origin of the encoder.
        weights: Weights to be written.
        source: File that they were read from.
        front_end: Constants of the default front end, as JSON values, for people.
    """
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "library_version": importlib.metadata.version("unmute-jax"),
        "encoder": origin.name,
        "title": origin.title_of(weights.sizes),
        "training": training_of(weights.sizes),
        "sizes": _json(dataclasses.asdict(weights.sizes)),
        "num_heads": str(weights.num_heads),
        "classes": _json(weights.classes),
        "front_end": _json(front_end),
        "layout": weights.layout,
        "source_file": source.path.name,
        "source_sha256": source.sha256,
        "licence": weights.licence,
        "citation": origin.citation,
        "code": origin.code,
    }


def write(
    path: pathlib.Path, weights: EncoderWeights, metadata: Mapping[str, str]
) -> None:
    """Writes the parameters one by one, so that the largest needs the most memory.

    Args:
        path: Path of the file; an old one is replaced when the new one is complete.
        weights: Weights to be written.
        metadata: Metadata, as returned by `metadata_of`.

    Raises:
        OSError: The file cannot be written.
    """
    shapes: dict[str, Shape] = {}
    for folders, array in weights.leaves():
        name = ".".join(folders)
        if name in shapes:
            raise AssertionError(f"two tensors become the parameter {name}")
        shapes[name] = array.shape
    header, offsets = _header(shapes, {**metadata, "digest": "0" * 64})
    hashes: dict[str, str] = {}
    total, written = sum(4 * math.prod(shape) for shape in shapes.values()) >> 20, 0
    with writing(path) as out, progress(path.name, total, unit="MB") as advance:
        for folders, array in weights.leaves():
            name, data = ".".join(folders), np.ascontiguousarray(array, np.float32)
            hashes[name] = sha256_of_array(data)
            out.seek(len(header) + offsets[name])
            out.write(data.data)
            written += data.nbytes
            advance((written >> 20) - (written - data.nbytes >> 20))
        digest = digest_of_hashes(metadata, shapes, hashes)
        out.seek(0)
        out.write(_header(shapes, {**metadata, "digest": digest})[0])


def _header(
    shapes: Mapping[str, Shape], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    """Returns the header of a safetensors file, and the offset of each tensor in it."""
    sizes = {name: 4 * math.prod(shape) for name, shape in shapes.items()}
    about: dict[str, Any] = {"__metadata__": dict(metadata)}
    offsets: dict[str, int] = {}
    end = 0
    for name in sizes:
        offsets[name], end = end, end + sizes[name]
        about[name] = {
            "dtype": "F32",
            "shape": list(shapes[name]),
            "data_offsets": [offsets[name], end],
        }
    text = json.dumps(about).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, offsets


def read(
    origin: Origin, file: WeightsFile, num_heads: int | None = None
) -> EncoderWeights:
    """Returns the weights in a converted file.

    Args:
        origin: Origin of the encoder that is wanted.
        file: File for which `is_converted` holds.
        num_heads: Number of attention heads; by default, what the file states.

    Raises:
        InputError: The file holds another encoder, or was written by a newer version of
            this library, or was altered, or was converted with other `num_heads`.
    """
    source, metadata = str(file.path), file.metadata
    _check_version(metadata, source)
    if metadata.get("encoder") != origin.name:
        raise InputError(
            f"{source} is a converted encoder {metadata.get('encoder')!r:.40}, not "
            f"{origin.name!r}"
        )
    tensors: dict[str, np.ndarray] = file.content["model"]
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    is_float32 = all(tensor.dtype == np.float32 for tensor in tensors.values())
    if not is_float32 or metadata.get("digest") != digest_of(metadata, tensors):
        raise InputError(f"{source} was altered after it was converted: convert again")
    for name, tensor in tensors.items():
        check_finite(tensor, name, source)
        release_pages(tensor)
    stated = _stated(origin, metadata, source)
    _check_shapes(origin, stated.sizes, shapes, source)
    if num_heads not in (None, stated.num_heads):
        raise InputError(
            f"{source} was converted with {stated.num_heads} heads, not {num_heads}: "
            "convert again"
        )

    def leaves() -> Iterator[Leaf]:
        for name, tensor in tensors.items():
            yield tuple(name.split(".")), tensor
            release_pages(tensor)
        file.check_unchanged()

    return dataclasses.replace(stated, used=len(tensors), leaves=leaves)


def _check_version(metadata: Mapping[str, str], source: str) -> None:
    version = metadata.get("format_version", "")
    if not version.isdecimal():
        raise InputError(f"{source} is damaged: it is of no version of the format")
    if int(version[:9]) > FORMAT_VERSION:
        raise InputError(
            f"{source} has version {version[:9]} of the format, of unmute-jax "
            f"{metadata.get('library_version')!r:.20}; this one reads versions up to "
            f"{FORMAT_VERSION}: update unmute-jax or convert again"
        )


def _stated(origin: Origin, metadata: Mapping[str, str], source: str) -> EncoderWeights:
    """Returns what the metadata state, without any parameters."""
    try:
        given = json.loads(metadata["sizes"])
        numbers = [v for k, v in given.items() if (k, v) != ("classes", None)]
        sizes = origin.checkpoints.sizes_type(**given)
        heads = positive_int(int(metadata["num_heads"][:9]))
        classes = json.loads(metadata["classes"])
        texts = [metadata[key] for key in ("source_file", "licence", "layout")]
        (sha256,) = re.findall(r"\A[0-9a-f]{64}\Z", metadata["source_sha256"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{source} is damaged: its metadata lack something") from error
    if heads is None or any(positive_int(number) is None for number in numbers):
        raise InputError(f"{source} is damaged: its sizes are impossible")
    return EncoderWeights(
        sizes=sizes,
        num_heads=check_heads(sizes, heads),
        classes=tuple(map(str, classes)),
        leaves=lambda: iter(()),
        description=describe(origin, sizes, f"{texts[0]}, converted"),
        licence=texts[1],
        identity=f"sha256:{sha256}",
        layout=f"converted from: {texts[2]}",
    )


def _check_shapes(
    origin: Origin, sizes: Any, shapes: Mapping[str, Shape], source: str
) -> None:
    """Refuses tensors that are not exactly those of a network of these sizes."""
    stored = sum(math.prod(shape) for shape in shapes.values())
    layout = origin.checkpoints.layout(sizes) if sizes.depth <= len(shapes) else {}
    needed = sum(math.prod(shape) for shape in layout.values())
    if not layout or needed > 2 * stored:
        raise InputError(f"{source} is damaged: its sizes are not those of its tensors")
    one = np.ones((), np.float32)
    tensors = {name: np.broadcast_to(one, shape) for name, shape in layout.items()}
    leaves = origin.checkpoints.leaves(tensors, sizes, source)
    expected = {".".join(folders): array.shape for folders, array in leaves}
    names = sorted(expected.keys() | shapes.keys())
    wrong = [name for name in names if expected.get(name) != shapes.get(name)]
    if wrong:
        raise InputError(f"{source} is damaged in its tensors {first_few(wrong)}")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
