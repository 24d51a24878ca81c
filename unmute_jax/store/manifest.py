"""Reads and writes the manifest of a token store, which says what its tokens are."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Source
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import parse_json
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    from_checked_json,
    read_file,
    to_checked_json,
    write_file,
)
from unmute_jax.store.key import (
    DTYPES,
    FORMAT,
    Kept,
    as_json,
    key_differences,
    store_key,
)

MANIFEST = "manifest.json"
# Fields that say what the tokens in a store are.
CONTENT_FIELDS = ("key", "clips", "grid", "classes")
# The most clips, time steps, bands, features or layers of a store.
_MOST = 2**31


def new_manifest(
    key: dict, *, clips: int, grid: Sequence[int], classes: Sequence[str], **about: Any
) -> dict[str, Any]:
    """Returns the manifest of a store that is about to be filled.

    Args:
        key: Key of the tokens, as returned by `store_key`.
        clips: Number of clips.
        grid: Token grid (T, F, D).
        classes: Names of the label columns.
        about: Further facts for readers of the store (licence, geometry, ...).
    """
    content = {"key": key, "clips": clips, "grid": grid, "classes": classes}
    manifest = as_json({"format": FORMAT, "complete": False, **content, **about})
    return {**manifest, "bound_to": store_name(manifest)}


def store_name(manifest: dict[str, Any]) -> str:
    """Returns how the files of a store name it: words for people, and a hash."""
    key = manifest["key"]
    text = json.dumps({f: manifest[f] for f in CONTENT_FIELDS}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{key['dataset']} {key['split']} by {key['encoder']['name']} ({digest})"


def continued(
    manifest: dict[str, Any], existing: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the manifest with which a pass continues an existing store.

    A store that an earlier version began keeps the layout of that version.

    Args:
        manifest: The wanted manifest, as returned by `new_manifest`.
        existing: The manifest in the store, or None if there is no usable one.
    """
    if existing is None:
        return manifest
    return {**manifest, "bound_to": existing.get("bound_to", "")}


def manifest_for(
    encoder: Source,
    dataset: Dataset,
    split: str,
    dtype: str,
    *,
    kept: Kept,
    lengths: int,
) -> dict[str, Any]:
    """Returns the manifest of the tokens of one split (arguments as of `embed`).

    Raises:
        InputError: If the encoder does not return the layers that are asked for, or
            the split has no clips.
    """
    if kept.needs_layers and not encoder.num_layers:
        raise InputError(
            f"{encoder.name} returns the tokens of its last layer only; probes of all "
            "layers (cgp, linear_cgp, head2toe, or the option layers) need an encoder "
            "that returns every layer"
        )
    key = store_key(encoder, dataset, split, dtype, kept=kept, lengths=lengths)
    clips = dataset.splits[split]
    if not clips:
        raise InputError(f"split {split} of {dataset.name} has no clips")
    t, f = encoder.grid(dataset.clip_seconds)
    return new_manifest(
        key,
        clips=clips,
        grid=(t, f, encoder.num_features),
        classes=dataset.classes,
        task=dataset.task,
        data={
            "source": dataset.source,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "notes": dataset.notes,
        },
        encoder={
            "description": encoder.description,
            "licence": encoder.licence,
            "code": encoder.code,
        },
        geometry={
            "seconds_per_step": encoder.geometry.seconds_per_step,
            "frequency_edges_hz": encoder.geometry.frequency_edges_hz,
        },
    )


def write_manifest(store: PathOrUrl, manifest: dict[str, Any]) -> None:
    """Writes the manifest of a store, with a checksum."""
    write_file(store, MANIFEST, to_checked_json(manifest, indent=1))


def read_manifest(store: PathOrUrl) -> dict[str, Any] | None:
    """Reads the manifest of a store; returns None if there is none.

    Raises:
        InputError: If it cannot be read or is of another format.
        DamagedStoreError: If it was altered.
    """
    data = read_file(store, MANIFEST)
    if data is None:
        return None
    try:
        manifest = from_checked_json(data)
    except ValueError as error:
        manifest = _read_without_checksum(data)
        if manifest is None:
            why = f"the checksum of {MANIFEST} does not match"
            raise DamagedStoreError(store, why) from error
    version = manifest.get("format")
    if version == FORMAT:
        if wrong := wrong_field(manifest):
            raise DamagedStoreError(store, f"{MANIFEST} has no valid {wrong}")
        return manifest
    raise InputError(
        f"token store {store} has format {one_line(str(version), 40)}, but this "
        f"program reads format {FORMAT}: embed again"
    )


def usable_manifest(store: PathOrUrl) -> dict[str, Any] | None:
    """Reads the manifest of a store; returns None if there is none or it was altered.

    Raises:
        InputError: If it cannot be read or is of another format.
    """
    try:
        return read_manifest(store)
    except DamagedStoreError:
        return None


def _read_without_checksum(data: bytes) -> dict[str, Any] | None:
    """Reads a manifest of the first formats, which had no checksum, or returns None."""
    with contextlib.suppress(ValueError):
        manifest = parse_json(data)
        if isinstance(manifest, dict) and "checksum" not in manifest:
            return manifest if manifest.get("format", FORMAT) != FORMAT else None
    return None


def wrong_field(manifest: dict[str, Any]) -> str | None:
    """Returns the first field whose value no store can have, if there is one.

    Its checksum shows that a manifest is as it was written, but not by whom.

    Args:
        manifest: A manifest of the present format.
    """
    key, grid, classes = (manifest.get(f) for f in ("key", "grid", "classes"))
    if not isinstance(key, dict):
        return "key"
    encoder, is_count = key.get("encoder"), _is_count
    if not isinstance(encoder, dict) or not isinstance(encoder.get("name"), str):
        return "name of the encoder"
    layers = ("layers", "layer_summaries")
    checks = {
        "complete": isinstance(manifest.get("complete"), bool),
        "clips": is_count(manifest.get("clips")),
        "grid": isinstance(grid, list) and len(grid) == 3 and all(map(is_count, grid)),
        "classes": _are_texts(classes),
        "bound_to": isinstance(manifest.get("bound_to", ""), str),
        "dataset in its key": isinstance(key.get("dataset"), str),
        "split in its key": isinstance(key.get("split"), str),
        "dtype in its key": key.get("dtype") in DTYPES,
        "layers in its key": all(is_count(key[f]) for f in layers if f in key),
        "layer in its key": key.get("layer", 0) == 0 or is_count(key["layer"]),
    }
    return next((name for name, is_right in checks.items() if not is_right), None)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def check_bound_to(store: PathOrUrl, manifest: dict[str, Any]) -> None:
    """Refuses a manifest whose files belong to the tokens of another one.

    Raises:
        DamagedStoreError: If they do.
    """
    bound_to = manifest.get("bound_to", "")
    if bound_to and bound_to != store_name(manifest):
        why = f"its files belong to the tokens of {bound_to}, {MANIFEST} to others"
        raise DamagedStoreError(store, why)


def check_same_store(store: PathOrUrl, existing: dict, wanted: dict) -> None:
    """Refuses a folder whose tokens are not those that its name stands for.

    Raises:
        InputError: If the manifests differ; the message names the differences.
    """
    lines = key_differences(
        *({f: m.get(f) for f in CONTENT_FIELDS} for m in (existing, wanted))
    )
    if lines:
        raise InputError(
            f"token store {store} holds other tokens than its name says "
            f"({'; '.join(lines)}): delete the folder and embed again"
        )
