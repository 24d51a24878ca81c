"""Embeds data sets and looks after stores, as the options of `unmute embed` say."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

import jax

from unmute_jax import distributed
from unmute_jax.cli import engine, program
from unmute_jax.cli.embed_options import (
    EXPORT,
    INFO,
    KEEP,
    OUTPUT,
    PRUNE,
    RUNS,
    VERIFY,
    WHAT,
    YES,
)
from unmute_jax.cli.processes import joined
from unmute_jax.config import Experiment
from unmute_jax.config_files import load_experiment
from unmute_jax.console import size_text
from unmute_jax.distributed import ray_cluster
from unmute_jax.errors import InputError
from unmute_jax.io import token_root
from unmute_jax.store import maintenance
from unmute_jax.store.damage import verify_store
from unmute_jax.store.estimate import estimate_store
from unmute_jax.store.export import (
    check_export_options,
    export_tokens,
)
from unmute_jax.store.files import PathOrUrl
from unmute_jax.store.maintenance import StoreInfo
from unmute_jax.store.reader import TokenStore
from unmute_jax.training.embed_on_ray import embed_on_ray
from unmute_jax.training.run import embed_all
from unmute_jax.training.setup import prepare, prepare_together


def main(rest: list[str]) -> None:
    """Embeds, or does one of the other tasks."""
    program.only_options(rest)
    tasks = [
        (flag, task)
        for flag, task in ((INFO, info), (VERIFY, verify), (PRUNE, prune))
        if flag.value
    ]
    if tasks[1:]:
        names = " and ".join(f"--{flag.name}" for flag, _ in tasks)
        raise InputError(f"{names}: give only one of them")
    if (YES.value or KEEP.value) and not PRUNE.value:
        raise InputError("--yes and --keep need --prune")
    is_local = engine.is_local()
    if tasks and not is_local:
        raise InputError(f"--{tasks[0][0].name} is done here: leave out --engine")
    if tasks:
        tasks[0][1]()
    elif is_local:
        with joined():
            embed(program.experiment(), embed_here)
    else:
        embed(program.experiment(), embed_on_nodes)


Stores = dict[str, TokenStore]


def embed(settings: Experiment, compute: Callable[[Experiment], Stores]) -> None:
    """Embeds all splits, and exports their tokens if --export is given."""
    form = EXPORT.value
    if form:
        program.required(OUTPUT)
        check_export_options(WHAT.value, form)
    elif OUTPUT.value:
        raise InputError("--output needs --export=npy or --export=parquet")
    stores = compute(settings)
    if form and distributed.is_writer():
        folder = program.required(OUTPUT)
        export_tokens(stores, folder, WHAT.value, form)
        print(f"the exported files are in {folder}/")


def embed_here(settings: Experiment) -> Stores:
    """Embeds all splits in this process and those that were started with it.

    Returns:
        The token stores by split; where several layers are kept apart, the first ones.
    """
    setup = prepare_together(settings)
    mesh = distributed.make_mesh(settings.devices or None)
    splits = [split for split, clips in setup.dataset.splits.items() if clips]
    stores, *_ = [embed_all(setup, kept, splits, mesh) for kept in setup.kept]
    return stores


def embed_on_nodes(settings: Experiment) -> Stores:
    """Does what `embed_here` does, on the nodes of a Ray cluster."""
    # The accelerators of this machine are for the tasks.
    jax.config.update("jax_platforms", "cpu")
    with ray_cluster.connected(engine.ADDRESS.value) as ray:
        needs, retries = engine.needs(ray), engine.MAX_RETRIES.value
        setup = prepare(settings)
        stores, *_ = embed_on_ray(setup, ray, needs, max_retries=retries)
    return stores


def info() -> None:
    """Prints a table of all token stores."""
    stores = maintenance.list_stores(token_root())
    if stores:
        print(maintenance.format_table(stores))
    size = size_text(sum(store.bytes for store in stores))
    print(f"{len(stores)} stores, {size} in {token_root()}")
    for path in maintenance.unrecognised_folders(token_root(), stores):
        print(f"{path.name} has a damaged manifest or none: it is not counted")


def verify() -> None:
    """Prints one line per store, and exits with code 1 if any of them is damaged."""
    chosen = program.has_config()
    paths = (
        paths_of(program.experiment())
        if chosen
        else maintenance.store_folders(token_root())
    )
    damaged = unread = 0
    for path in paths:
        try:
            faults = verify_store(path)
        except InputError as error:
            unread += 1
            print(error)
            continue
        damaged += bool(faults)
        more = f", and {len(faults) - 1} more faults" if faults[1:] else ""
        state = f"damaged ({faults[0]}{more})" if faults else "intact"
        print(f"{path}: {state}", flush=True)
    print(f"{len(paths)} stores, {damaged} damaged, {unread} could not be read")
    if damaged:
        print("run unmute embed again: it computes the damaged parts again")
    if damaged or unread:
        sys.exit(1)


def prune() -> None:
    """Lists the stores that nothing uses, and deletes them with --yes."""
    stores = maintenance.list_stores(token_root())
    kept = [program.experiment()] if program.has_config() else []
    kept += map(load_experiment, KEEP.value)
    runs = runs_that_use()
    if not (kept or runs):
        raise InputError(
            "--prune would delete every store: name what is used with --config, --keep "
            "or --runs"
        )
    mine = {path for settings in kept for path in paths_of(settings)}
    found = maintenance.unused(stores, [lambda store: store.path in mine, *runs])
    written = [store for store in found if store.may_still_be_written]
    gone = [store for store in found if store not in written]
    if gone:
        print(maintenance.format_table(gone))
    for store in gone if YES.value else ():
        maintenance.remove(store)
        print(f"deleted: {store.path.name}", flush=True)
    if written:
        print(
            "kept, because another process may be writing them:\n"
            f"{maintenance.format_table(written)}"
        )
    size = size_text(sum(store.bytes for store in gone))
    end = "deleted" if YES.value else "not used; --yes deletes them"
    print(f"{len(gone)} of {len(stores)} stores, {size}: {end}")
    print(f"{len(kept)} configurations and {len(runs)} runs were asked what they use")


def runs_that_use() -> list[Callable[[StoreInfo], bool]]:
    """Predicates that recognise the stores which the runs in `--runs` read."""
    if not RUNS.value:
        return []
    folder = pathlib.Path(RUNS.value)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: --runs names the folder of the runs whose "
            "tokens are kept; write --runs= if there are none"
        )
    return maintenance.used_by_runs(folder)


def paths_of(settings: Experiment) -> list[PathOrUrl]:
    """The places of an experiment's token stores, whether they exist or not."""
    setup, tokens = prepare(settings), settings.tokens
    return [
        estimate_store(
            setup.encoder,
            setup.dataset,
            split,
            dtype=tokens.dtype,
            kept=kept,
            lengths=tokens.lengths,
        )["path"]
        for kept in setup.kept
        for split, clips in setup.dataset.splits.items()
        if clips
    ]
