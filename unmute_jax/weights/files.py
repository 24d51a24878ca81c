"""A weights file, whatever its container."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import mmap
import os
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from unmute_jax.errors import InputError, one_line
from unmute_jax.weights.torch_file import read_torch

# The list of tensors of a published file takes 0.1 MB.
_MAX_HEADER = 1 << 24
_MAX_CONFIG = 1 << 20
_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        path: Of the file.
        content: Of a torch file the saved object; of a safetensors file a dict
            `{"model": tensors, "config": ...}` with the JSON beside it, or `{}`.
            Tensors are views of the file: it must not be changed while they live.
        metadata: Of a safetensors file, `{}` of others.
        is_safetensors: Else it is of torch.
    """

    path: pathlib.Path
    content: Any
    metadata: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    is_safetensors: bool = False

    @functools.cached_property
    def sha256(self) -> str:
        """Of the bytes of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Reads a .pt, .pth or .safetensors file, told apart by its first bytes.

    Args:
        path: The file, or a folder that holds `model.safetensors`.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise InputError(f"there is no weights file {path}")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    # A safetensors file begins with the length of a JSON object, then the object.
    if start[8:9] != b"{" and path.suffix != ".safetensors":
        return WeightsFile(path=path, content=read_torch(path))
    try:
        tensors, metadata = _read_safetensors(path)
    except InputError as error:
        raise InputError(f"{path} {one_line(str(error))}") from error
    content = {"model": tensors, "config": _config_beside(path)}
    return WeightsFile(
        path=path, content=content, metadata=metadata, is_safetensors=True
    )


def let_go(tensor: np.ndarray) -> None:
    """Gives the memory of all that was read of a file back to the system.

    Args:
        tensor: Any of the file; it and others stay as they are, and are read again when
            somebody looks.
    """
    owner: Any = tensor
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _read_safetensors(
    path: pathlib.Path,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors, as views of the file, and the metadata."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MAX_HEADER:
            raise InputError("is truncated or no safetensors file (its header is huge)")
        try:
            opened = safetensors.safe_open(path, framework="numpy")
        except safetensors.SafetensorError as error:
            reason = f"{error!s:.100}"
            raise InputError(
                f"is truncated or no safetensors file ({reason})"
            ) from error
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors, start = {}, 8 + length
    # The library has checked that they lie behind each other without a gap.
    for name in opened.offset_keys():
        about = opened.get_slice(name)
        kind, shape = about.get_dtype(), tuple(about.get_shape())
        if kind not in _DTYPES:
            raise InputError(f"holds {name} as {kind}, which is not supported")
        tensor = np.ndarray(shape, _DTYPES[kind], content, start)
        tensors[name] = tensor
        start += tensor.nbytes
    return tensors, dict(opened.metadata() or {})


def _config_beside(path: pathlib.Path) -> dict[str, Any]:
    """The JSON that Hugging Face keeps beside its weights, `{}` where there is none."""
    for name in (f"{path.stem}_config.json", "config.json"):
        config = path.with_name(name)
        if config.is_file():
            try:
                with config.open(encoding="utf-8") as file:
                    return dict(json.loads(file.read(_MAX_CONFIG)))
            except (ValueError, TypeError, RecursionError) as error:
                reason = one_line(str(error), 100)
                raise InputError(f"{config} is no JSON object ({reason})") from error
    return {}
