"""Token stores of noise in any size, for benchmarks and checks."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from unmute_jax.console import progress
from unmute_jax.store.key import FORMAT
from unmute_jax.store.layout import CHECKSUMS, CLIPS_PER_SHARD, Layout
from unmute_jax.store.manifest import new_manifest
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter

# The tokens of ten seconds as (T, F, D), from a ViT-base on patches of 16 x 16.
GRID = (64, 8, 768)
CLASSES = 10


def write_store(
    path: pathlib.Path, clips: int, dtype: str, grid: tuple[int, int, int] = GRID
) -> TokenStore:
    """Writes a store, or what is missing of it, with one or two shards in memory."""
    key = {
        "format": FORMAT,
        "dataset": "synthetic",
        "split": "train",
        "fingerprint": f"{clips} clips",
        "encoder": {"name": "noise"},
        "dtype": dtype,
    }
    classes = [f"class {c}" for c in range(CLASSES)]
    manifest = new_manifest(
        key,
        clips=clips,
        grid=grid,
        classes=classes,
        geometry={"seconds_per_step": 10 / grid[0]},
    )
    writer = TokenWriter(path, manifest)
    noise = _noise(writer.layout)
    with progress("writing", clips, unit="clips") as advance:
        for shard in writer.pending():
            rows = writer.layout.rows(shard)
            ids = [{"id": str(i), "events": []} for i in range(rows.start, rows.stop)]
            writer.write(shard, _rows(noise, shard, len(ids)), ids)
            advance(len(ids))
    return writer.finish()


def _noise(layout: Layout) -> dict[str, Any]:
    """Noise for one shard of every array."""
    rng, made = np.random.default_rng(0), {}
    for name, (shape, dtype) in layout.arrays.items():
        if name in CHECKSUMS.values():
            continue
        x = rng.standard_normal((CLIPS_PER_SHARD, *shape[1:]), np.float32)
        if dtype in ("bool", "uint8"):
            made[name] = np.ones_like(x, bool) if dtype == "bool" else x > 1
        else:
            made[name] = np.clip(x * 40, -127, 127) if dtype == "int8" else x
        made[name] = made[name].astype(_type(dtype))
    return made


def _rows(noise: dict[str, Any], shard: int, clips: int) -> dict[str, Any]:
    """The noise in another order for every shard, so that no two files are equal."""
    order = (np.arange(clips) + shard) % CLIPS_PER_SHARD
    return {name: x[order] for name, x in noise.items()}


def _type(dtype: str) -> Any:
    import ml_dtypes

    return ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
