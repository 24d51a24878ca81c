"""Reads weights files, whether they are safetensors or files of torch."""

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
from unmute_jax.io import refuse_lfs_pointer
from unmute_jax.weights.ctranslate2 import is_ctranslate2, read_ctranslate2
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
    """A weights file and its content.

    Attributes:
        path: Path of the file.
        state: Its inode, size and time of modification, before anything was read.
        content: The saved object of a torch file. For a safetensors file, a dict
            `{"model": tensors, "config": ...}`, where the config is the JSON file
            beside it, or `{}`. Tensors are views of the file, which must not be changed
            while they are in use.
        metadata: Metadata of a safetensors file; `{}` for a torch file.
        is_safetensors: Whether it is a safetensors file, and not one of torch.
    """

    path: pathlib.Path
    state: tuple[int, int, int]
    content: Any
    metadata: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    is_safetensors: bool = False

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the file, as hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def check_unchanged(self) -> None:
        """Checks that nobody has written to the file since it was opened.

        Raises:
            InputError: The tensors that were read may be a mixture of two files.
        """
        if not self.path.is_file() or file_state(self.path) != self.state:
            raise InputError(f"{self.path} was changed while it was read: try again")


def read_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Reads a .pt, .pth or .safetensors file; its first bytes show which one it is.

    Args:
        path: Path of the file, or of a folder that holds `model.safetensors`.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise InputError(f"there is no weights file {path}")
    state = file_state(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    refuse_lfs_pointer(path, start)
    if is_ctranslate2(start):
        try:
            content = read_ctranslate2(path)
        except InputError as error:
            raise InputError(one_line(str(error))) from error
        return WeightsFile(path=path, state=state, content=content)
    # A safetensors file begins with the length of a JSON object, then the object.
    if start[8:9] != b"{" and path.suffix != ".safetensors":
        return WeightsFile(path=path, state=state, content=read_torch(path))
    try:
        tensors, metadata = _read_safetensors(path)
    except InputError as error:
        raise InputError(f"{path} {one_line(str(error))}") from error
    content = {"model": tensors, "config": _config_beside(path)}
    return WeightsFile(
        path=path,
        state=state,
        content=content,
        metadata=metadata,
        is_safetensors=True,
    )


def file_state(path: pathlib.Path) -> tuple[int, int, int]:
    """Returns the inode, size and time of modification of a file."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def release_pages(tensor: np.ndarray) -> None:
    """Returns the memory that a mapped file takes to the system.

    All tensors of the file remain valid; their bytes are read again when needed.

    Args:
        tensor: Any tensor of the file.
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
    """Returns the tensors, as views of the file, and the metadata."""
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
    # The library has checked that the tensors follow each other without a gap.
    for name in opened.offset_keys():
        about = opened.get_slice(name)
        kind, shape = about.get_dtype(), tuple(about.get_shape())
        if kind not in _DTYPES:
            raise InputError(f"holds {name} as {kind}, which is not supported")
        try:
            tensor = np.ndarray(shape, _DTYPES[kind], content, start)
        # NumPy has at most 64 axes, and lengths of 63 bits in all.
        except ValueError as error:
            raise InputError(
                f"holds {one_line(name, 80)} in the shape {list(shape)!s:.80}, which "
                f"is impossible ({one_line(str(error), 80)})"
            ) from error
        tensors[name] = tensor
        start += tensor.nbytes
    return tensors, dict(opened.metadata() or {})


def _config_beside(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON file that Hugging Face keeps beside its weights, or `{}`."""
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
