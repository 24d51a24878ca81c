"""Spreads the embedding of a data set over the nodes of a Ray cluster.

Each task computes some shards of a token store and writes them into it, so all nodes
must see the store: it lies in a folder that they share, or in a bucket. A task whose
process or node is lost is started again, and computes the shards that are not written
yet. A task that fails by its own fault is not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unmute_jax import distributed
from unmute_jax.console import inform, progress
from unmute_jax.distributed import collectives
from unmute_jax.distributed.ray_cluster import Needs, slots
from unmute_jax.distributed.ray_tasks import run_tasks
from unmute_jax.encoders import ExportedTokens
from unmute_jax.errors import InputError
from unmute_jax.store.batches import block_size, input_lengths
from unmute_jax.store.clip_lengths import length_notes
from unmute_jax.store.embed import Pass, begin
from unmute_jax.store.key import Kept
from unmute_jax.store.layout import CLIPS_PER_SHARD, is_shard_finished
from unmute_jax.store.reader import TokenStore
from unmute_jax.training.setup import Setup
from unmute_jax.training.shard_tasks import SHARED, Report, ShardTask, compute

# Tasks for each that can run at once, so that all nodes are busy until the end and new
# nodes find work; but as long as all nodes are busy, a task has at least so many
# shards, since it takes seconds to open the data set and to compile the encoder.
TASKS_EACH, FEWEST_SHARDS = 4, 8


def embed_on_ray(
    setup: Setup,
    ray: Any,
    needs: Needs,
    *,
    max_retries: int = 3,
    log: Callable[[str], None] = inform,
) -> list[dict[str, TokenStore]]:
    """Computes the tokens of all splits on the nodes of a Ray cluster.

    Args:
        setup: The opened experiment.
        ray: The module, connected to a cluster.
        needs: The resources of a task.
        max_retries: How many times a task is started again after its process or node
            was lost.
        log: A function that is called with lines for the user.

    Returns:
        The token stores by split, for each of `setup.kept`.

    Raises:
        InputError: Some shards could not be computed, a task was lost too often, or a
            node sees another token store or other data than this process.
    """
    tokens = setup.settings.tokens
    for note in length_notes(setup.encoder, setup.dataset, tokens.lengths):
        log(f"note: {note}")
    opened: dict[tuple[Kept, str], TokenStore | Pass] = {
        (kept, split): begin(
            setup.encoder,
            setup.dataset,
            split,
            dtype=tokens.dtype,
            kept=kept,
            lengths=tokens.lengths,
            log=log,
        )
        for kept in setup.kept
        for split, clips in setup.dataset.splits.items()
        if clips
    }
    missing = {key: x for key, x in opened.items() if isinstance(x, Pass)}
    at_once = max(1, sum(slots(ray, needs).values()))
    tasks = make_tasks(setup, missing, needs, at_once)
    failed = _run(ray, setup, missing, tasks, needs, max_retries, log)
    if failed:
        raise InputError(
            f"{failed} of {len(tasks)} tasks failed, for the reasons above: the same "
            "command computes the shards that are missing"
        )

    def store_of(found: TokenStore | Pass) -> TokenStore:
        if isinstance(found, TokenStore):
            return found
        patience = collectives.VISIBLE_WITHIN
        return distributed.retry_until_visible(found.finish, patience, SHARED)

    stores = {key: store_of(found) for key, found in opened.items()}
    return [
        {split: store for (k, split), store in stores.items() if k == kept}
        for kept in setup.kept
    ]


def make_tasks(
    setup: Setup,
    missing: Mapping[tuple[Kept, str], Pass],
    needs: Needs,
    at_once: int,
) -> list[ShardTask]:
    """Divides the missing shards of some stores into tasks.

    Args:
        setup: The opened experiment.
        missing: Passes over the splits, by what is kept and by split.
        needs: The resources of a task.
        at_once: Number of tasks that the cluster can run at once.
    """
    pending = {key: found.writer.pending() for key, found in missing.items()}
    together = _shards_of_whole_batches(setup)
    size = task_size(sum(map(len, pending.values())), at_once, together)
    tasks = list[ShardTask]()
    for (kept, split), found in missing.items():
        layout, path = found.writer.layout, found.writer.path
        of_task: dict[int, list[int]] = {}
        for shard in pending[kept, split]:
            of_task.setdefault(shard // size, []).append(shard)
        tasks += [
            ShardTask(
                settings=setup.settings,
                kept=kept,
                split=split,
                path=path if isinstance(path, str) else path.absolute(),
                key=found.writer.manifest["key"],
                shards=tuple(shards),
                clips=layout.count_clips(shards),
                needs=needs,
                patience=collectives.VISIBLE_WITHIN,
            )
            for shards in of_task.values()
        ]
    return tasks


def task_size(shards: int, at_once: int, together: int) -> int:
    """Returns the number of shards of a task.

    Args:
        shards: Number of all missing shards.
        at_once: Number of tasks that the cluster can run at once.
        together: Number of shards after which a batch and a shard begin together. No
            batch is computed by two tasks, unless this number is large.
    """
    size = max(FEWEST_SHARDS, -(-shards // (TASKS_EACH * at_once)))
    size = max(1, min(size, -(-shards // at_once)))
    return -(-size // together) * together if together <= FEWEST_SHARDS else size


def _shards_of_whole_batches(setup: Setup) -> int:
    """Returns the number of shards after which a batch and a shard begin together."""
    tokens, encoder = setup.settings.tokens, setup.encoder
    if isinstance(encoder, ExportedTokens) or not (
        tokens.batch_size or tokens.lengths > 1
    ):
        return 1  # The default batch sizes divide a shard.
    grids = input_lengths(encoder, setup.dataset.clip_seconds, tokens.lengths)
    size = block_size(tokens.batch_size or CLIPS_PER_SHARD, grids)
    return math.lcm(size, CLIPS_PER_SHARD) // CLIPS_PER_SHARD


def _run(
    ray: Any,
    setup: Setup,
    missing: Mapping[tuple[Kept, str], Pass],
    tasks: Sequence[ShardTask],
    needs: Needs,
    max_retries: int,
    log: Callable[[str], None],
) -> int:
    """Runs tasks, shows their progress, and returns how many of them failed.

    Raises:
        InputError: A node cannot compute anything, or writes into another store.
    """
    total = sum(found.writer.layout.clips for found in missing.values())
    left = {task: task.clips for task in tasks}
    seen, failed = set[ShardTask](), set[ShardTask]()
    label = f"{setup.dataset.name} by {setup.encoder.name}"
    done = total - sum(left.values())
    with (
        contextlib.closing(
            run_tasks(ray, compute, tasks, needs, max_retries)
        ) as events,
        progress(label, total, unit="clips", done=done) as advance,
    ):
        for event in events:
            task, report = event.task, Report(left[event.task])
            if event.kind == "warning":
                log(event.reason)
            elif event.kind == "item":
                report: Report = event.value
            elif event.kind == "end" and task not in failed:
                report = Report(0, task.shards)
            elif event.kind == "failed" and event.error is not None:
                raise event.error
            elif event.kind == "lost":
                log(f"a task was lost and is started again ({event.reason})")
            elif event.kind == "gone":
                report = report._replace(failure=f"lost too often ({event.reason})")
            if report.refusal:
                raise InputError(report.refusal)
            if report.failure:
                failed.add(task)
                log(f"a task of {len(task.shards)} shards has failed: {report.failure}")
                continue
            if report.written and task not in seen:
                _check_visible(task, missing[task.kept, task.split], report.written[0])
                seen.add(task)
            advance(left[task] - report.left)
            left[task] = report.left
    return len(failed)


def _check_visible(task: ShardTask, found: Pass, shard: int) -> None:
    """Makes sure that a shard that a node has written is in the store seen from here.

    A node may have a store of the same name on a disk of its own.
    """

    def look() -> None:
        if not is_shard_finished(found.writer.path, found.writer.layout, shard):
            raise InputError(
                f"shard {shard} of {task.path} was written on another node"
            )

    distributed.retry_until_visible(look, task.patience, SHARED)
