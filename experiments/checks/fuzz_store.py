"""Damaged token stores for `fuzz`."""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from experiments.checks import mutated_json
from experiments.checks.fuzz_cases import REFUSED, Case, judge
from experiments.checks.mutations import mutate
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.key import FORMAT, as_json, store_path
from unmute_jax.store.layout import CHECKSUMS, CLIPS_PER_SHARD, DAMAGE_MARKS, Layout
from unmute_jax.store.maintenance import list_stores
from unmute_jax.store.manifest import MANIFEST, new_manifest
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter

# Two shards, the last one ragged.
_CLIPS = CLIPS_PER_SHARD + 6
_GRID = (3, 2, 4)
# What the keys of the stores have besides the fields that all have.
_KINDS: dict[str, dict[str, Any]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "int8"},
    "float32 with layers": {"dtype": "float32", "layers": 3, "layer_summaries": 3},
}
_EXCHANGED = "the files of two shards exchanged"
_OTHER_STORE = "a file of another split"
_LEFT_OUT = "a file left out"
# Files of JSON besides those that end in .json.
_TEXTS = ("clips/", "checksums/")


@functools.cache
def originals() -> dict[str, dict[str, bytes]]:
    """Returns the files of each kind of store, by their names."""
    return {kind: _store(kind, "train") for kind in _KINDS}


@functools.cache
def _other_split(kind: str) -> dict[str, bytes]:
    """A valid store of the same sizes with other clips."""
    return _store(kind, "test")


def _store(kind: str, split: str) -> dict[str, bytes]:
    key = as_json(
        {
            "format": FORMAT,
            "dataset": "trees",
            "split": split,
            "fingerprint": f"sha256:{split}",
            "encoder": load_encoder("logmel").identity(),
            **_KINDS[kind],
        }
    )
    manifest = new_manifest(
        key,
        clips=_CLIPS,
        grid=_GRID,
        classes=("ash", "birch", "cedar"),
        task="multi-label",
        data={"source": "made up", "licence": "CC0", "citation": "", "notes": []},
        encoder={"description": "made up", "licence": "CC0", "code": ""},
        geometry={"seconds_per_step": 0.16, "frequency_edges_hz": [[0, 1], [1, 2]]},
    )
    layout, rng = Layout.from_manifest(manifest), np.random.default_rng(len(split))
    rows = {
        name: _random(shape, ts.dtype(dtype).numpy_dtype, rng)
        for name, (shape, dtype) in layout.arrays.items()
        if name not in CHECKSUMS.values()
    }
    clips = [{"id": f"{split} {i}", "events": [[0, 0.5, 1.0]]} for i in range(_CLIPS)]
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "store")
        writer = TokenWriter(folder, manifest)
        for shard in layout.shards:
            where = layout.rows(shard)
            part = {name: x[where] for name, x in rows.items()}
            writer.write(shard, part, clips[where])
        writer.finish()
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def _random(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal(shape)
    if dtype in (np.bool_, np.uint8):
        x = x > 0
    return (x * 50 if dtype == np.int8 else x).astype(dtype)


def prepare() -> None:
    """Reads the undamaged stores."""
    for kind in _KINDS:
        _meaning(kind)


def make(rng: np.random.Generator) -> Case:
    """Makes a damaged store.

    Args:
        rng: The source of all choices.
    """
    kind = str(rng.choice(list(_KINDS)))
    files = dict(originals()[kind])
    is_sealed = False
    # Each array has as many files as the manifest, but the manifest says what they are.
    names = list(files)
    texts = [n for n in names if n.endswith(".json") or n.startswith(_TEXTS)]
    name = str(rng.choice(names))
    match str(rng.choice(["bytes", "json", "sealed", "exchange", "other", "without"])):
        case "bytes":
            parts = [files[name], *(files[str(n)] for n in rng.choice(names, 3))]
            mutation, files[name] = mutate(parts, 0, rng)
        case "exchange":
            pairs = [n for n in names if n.replace("/0", "/1", 1) in files]
            name = str(rng.choice([n for n in pairs if "/0" in n]))
            other = name.replace("/0", "/1", 1)
            files[name], files[other] = files[other], files[name]
            mutation = _EXCHANGED
        case "other":
            files[name], mutation = _other_split(kind)[name], _OTHER_STORE
        case "without":
            del files[name]
            mutation = _LEFT_OUT
        case choice:
            name = MANIFEST if rng.random() < 0.4 else str(rng.choice(texts))
            is_sealed = choice == "sealed" and not name.endswith("zarr.json")
            mutation, value = mutated_json.change(json.loads(files[name]), rng)
            files[name] = mutated_json.encode(value)
            if is_sealed:
                mutation += ", checksum anew"
                files[name] = _sealed(value)
    return Case(kind=kind, mutation=mutation, files=files, may_differ=is_sealed)


def _sealed(value: Any) -> bytes:
    """Returns JSON as `to_checked_json` does, also of what is no valid JSON."""
    text = mutated_json.encode({k: v for k, v in value.items() if k != "checksum"})
    digest = hashlib.sha256(text).hexdigest()[:16].encode()
    return text[:-1] + b', "checksum": "%s"}' % digest


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Reads a store, and verifies it.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: See `judge`; or a store without a fault cannot be read.
    """
    outcome = judge(folder, lambda: _read(folder), _meaning(kind), may_differ)
    # What reading has found must be found by verifying, too.
    shutil.rmtree(folder / DAMAGE_MARKS, ignore_errors=True)
    faults = _faults(folder)
    assert all(line.isprintable() for line in faults), repr(faults)
    # A sealed manifest may say that the store is unfinished.
    is_told = bool(faults) or may_differ
    assert is_told or outcome != REFUSED, "verifying finds nothing"
    assert not faults or outcome == REFUSED, f"verifying finds {'; '.join(faults)}"
    list_stores(folder.parent)
    return outcome


def _faults(folder: pathlib.Path) -> list[str]:
    """What verifying a store finds."""
    try:
        return verify_store(folder)
    except InputError as error:
        return [str(error)]


@functools.cache
def _meaning(kind: str) -> Any:
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "folder")
        Case(kind=kind, mutation="none", files=originals()[kind]).write(folder)
        return _read(folder)


def _read(folder: pathlib.Path) -> Any:
    """Everything that the trainings of all probes read of a store."""
    store = TokenStore.open(folder)
    has_layers = bool(store.layout.layers)
    order = np.arange(store.n)[::-1]
    values = {
        "key": store.key,
        "classes": store.classes,
        "grid": store.grid,
        "labels": store.labels,
        "ids": store.ids,
        "events": store.events,
        "summary": store.summary(),
        "all": store.load(layers=has_layers),
        "read": store.read(order, layers=has_layers),
        "pooled": store.pooled(slice(60, 70)),
        "tokens": store.tokens_of(slice(0, 65)),
        "path": pathlib.Path(str(store_path("", store.key))).name,
    }
    if store.layout.layer_summaries:
        values["layer_summary"] = store.layer_summary()
    return jax.tree.map(
        lambda x: np.asarray(x) if hasattr(x, "shape") else x, _plain(values)
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replaces tokens and summaries by their arrays."""
    return {
        k: dict(vars(v)) if hasattr(v, "__dataclass_fields__") else v
        for k, v in values.items()
    }
