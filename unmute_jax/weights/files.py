"""A weights file, whatever its container."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import safetensors
import safetensors.numpy

from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        path: Of the file.
        sha256: Of its bytes.
        content: Of a torch file the saved object; of a safetensors file a dict
            `{"model": tensors, "config": ...}` with the JSON beside it, or `{}`.
    """

    path: pathlib.Path
    sha256: str
    content: Any


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
    with path.open("rb") as file:
        start = file.read(16)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    # A safetensors file begins with the length of a JSON object, then the object.
    is_safetensors = start[8:9] == b"{" or path.suffix == ".safetensors"
    content = _read_safetensors(path) if is_safetensors else read_torch(path)
    return WeightsFile(path=path, sha256=sha256, content=content)


def _read_safetensors(path: pathlib.Path) -> dict[str, Any]:
    try:
        tensors = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{path} is truncated or no safetensors file ({error})"
        ) from error
    return {"model": tensors, "config": _config_beside(path)}


def _config_beside(path: pathlib.Path) -> dict[str, Any]:
    """The JSON that Hugging Face keeps beside its weights, `{}` where there is none."""
    for name in (f"{path.stem}_config.json", "config.json"):
        config = path.with_name(name)
        if config.is_file():
            try:
                return dict(json.loads(config.read_text("utf-8")))
            except ValueError as error:
                raise InputError(f"{config} is no JSON object ({error})") from error
    return {}
