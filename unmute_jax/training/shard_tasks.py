"""Computes some shards of a token store on a node of a cluster.

The process of the command has created the store; a node finds out whether it sees the
same store and has the same data before it computes anything.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.distributed.compiled import keep_compiled_programs
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.errors import InputError
from unmute_jax.io import describe_fault, disk_fault
from unmute_jax.store.files import PathOrUrl
from unmute_jax.store.filling import fill
from unmute_jax.store.key import Kept, key_differences
from unmute_jax.store.manifest import continued, manifest_for, usable_manifest
from unmute_jax.store.writer import TokenWriter
from unmute_jax.training.setup import Setup, prepare

# Seconds between two reports of a task in which no shard was written.
REPORT_EVERY = 2.0
SHARED = "UNMUTE_TOKENS must name a bucket, or a folder that all nodes share"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardTask:
    """Some missing shards of a token store.

    Attributes:
        settings: The experiment's settings.
        kept: Layers that the store keeps.
        split: The split whose tokens are in the store.
        path: The store, as an absolute path or a URL.
        key: Key of its tokens, by which a node finds out whether it has other data.
        shards: Indices of the shards.
        clips: Number of clips in them.
        needs: The resources of the task.
        patience: Seconds within which files of the driver must become visible.
    """

    settings: Experiment
    kept: Kept
    split: str
    path: PathOrUrl
    key: dict[str, Any]
    shards: tuple[int, ...]
    clips: int
    needs: Needs
    patience: float


class Report(NamedTuple):
    """What a task tells the driver.

    Attributes:
        left: Number of clips that are still missing.
        written: The shards that it has written since the last report.
        refusal: Why this node cannot compute any shard; empty if it can.
        failure: Why these shards cannot be computed on any node; empty if they can.
    """

    left: int = 0
    written: tuple[int, ...] = ()
    refusal: str = ""
    failure: str = ""


def compute(task: ShardTask) -> Generator[Report]:
    """Computes the shards of a task on this node, and reports now and then."""
    try:
        task.needs.keep_to()
        keep_compiled_programs()
        setup, writer = _open(task)
        mesh = distributed.make_mesh(task.settings.devices or None)
    except InputError as error:
        yield Report(refusal=f"node {platform.node()}: {error}")
        return
    tokens = setup.settings.tokens
    batches = fill(
        writer,
        task.shards,
        setup.encoder,
        setup.dataset,
        task.split,
        kept=task.kept,
        lengths=tokens.lengths,
        batch_size=tokens.batch_size,
        mesh=mesh,
    )
    last, written = time.monotonic(), list[int]()
    try:
        for batch in batches:
            written += batch.written
            if written or time.monotonic() - last >= REPORT_EVERY:
                yield Report(batch.left, tuple(written))
                last, written = time.monotonic(), []
    except InputError as error:
        yield Report(failure=f"node {platform.node()}: {error}")
    except Exception as error:
        if (fault := disk_fault(error)) is None:
            raise
        yield Report(refusal=f"node {platform.node()}: {describe_fault(fault)}")


def _open(task: ShardTask) -> tuple[Setup, TokenWriter]:
    """Opens the experiment and the store on this node.

    Raises:
        InputError: Something is missing here, or differs from what the driver has.
    """

    def look() -> dict[str, Any]:
        existing = usable_manifest(task.path)
        if existing is None:
            raise InputError(f"there is no token store {task.path}")
        return existing

    existing = distributed.retry_until_visible(look, task.patience, SHARED)
    setup = prepare(task.settings)
    tokens = setup.settings.tokens
    manifest = manifest_for(
        setup.encoder,
        setup.dataset,
        task.split,
        tokens.dtype,
        kept=task.kept,
        lengths=tokens.lengths,
    )
    if lines := key_differences(task.key, manifest["key"]):
        raise InputError(
            f"the tokens of {setup.dataset.name} {task.split} would be others than on "
            f"the node of the command: {'; '.join(lines)}"
        )
    return setup, TokenWriter(task.path, continued(manifest, existing))
