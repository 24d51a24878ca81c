"""Computes the tokens of all splits, and writes them for other tools.

python -m experiments.embed --config configs/bpp_esc50.py
python -m experiments.embed --config configs/bpp_esc50.py --export npy --output DIR
python -m experiments.embed --config ... --export parquet --what tokens --output DIR

The tokens are kept where training finds them; a pass that was stopped goes on when the
same command is given again. `--what pooled` exports the mean and the class token of
every clip, `--what tokens` whole token maps; as npy, `--config.encoder=tokens:DIR`
reads those again. `unmute_jax/token_export.py` says which files there are.

python -m experiments.embed --info
python -m experiments.embed --verify
python -m experiments.embed --prune --config configs/bpp_esc50.py --runs=runs

`--info` lists all stores. `--verify` reads every byte of them, or of those of a
configuration, and ends with 1 where one is not as it was written; what is damaged is
made again by the next pass. `--prune` lists what neither a configuration (`--config`,
`--keep=FILE`, as often as you like) nor a run in the folder `--runs` uses, and deletes
it with `--yes` alone; never a store that may be being written.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

from absl import flags

from unmute_jax import distributed
from unmute_jax.cli import program
from unmute_jax.cli.processes import together, writer_first
from unmute_jax.config import Experiment
from unmute_jax.console import size_text
from unmute_jax.errors import InputError
from unmute_jax.io import token_root
from unmute_jax.store import maintenance
from unmute_jax.store.embed import estimate_store
from unmute_jax.store.export import EXPORT_KINDS, FORMS, check, export_tokens
from unmute_jax.store.files import Place
from unmute_jax.store.maintenance import StoredTokens
from unmute_jax.training.run import embed_all
from unmute_jax.training.setup import prepare

EXPORT = flags.DEFINE_enum(
    "export", None, FORMS, "Write the tokens as npy or as parquet."
)
WHAT = flags.DEFINE_enum(
    "what", "pooled", EXPORT_KINDS, "Vectors, or whole token maps."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to export to.")
INFO = flags.DEFINE_bool("info", False, "List all stores, and do nothing.")
VERIFY = flags.DEFINE_bool("verify", False, "Look for damage in what is there.")
PRUNE = flags.DEFINE_bool("prune", False, "List the stores that nothing uses.")
KEEP = flags.DEFINE_multi_string(
    "keep", [], "With --prune: further config files whose stores are used."
)
RUNS = flags.DEFINE_string(
    "runs", "runs", "With --prune: folder of runs whose stores are used; or nothing."
)
YES = flags.DEFINE_bool("yes", False, "Delete what --prune lists.")


def main(rest: list[str]) -> None:
    """Embeds, or looks after what was embedded."""
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}")
    tasks = [
        (flag, task)
        for flag, task in ((INFO, info), (VERIFY, verify), (PRUNE, prune))
        if flag.value
    ]
    if tasks[1:]:
        names = " and ".join(f"--{flag.name}" for flag, _ in tasks)
        raise InputError(f"{names}: one at a time")
    if (YES.value or KEEP.value) and not PRUNE.value:
        raise InputError("--yes and --keep belong to --prune")
    if tasks:
        tasks[0][1]()
    else:
        together(embed)(program.experiment())


def embed(settings: Experiment) -> None:
    """Embeds, and exports where that is asked for."""
    form = EXPORT.value
    if form:
        program.required(OUTPUT)
        check(WHAT.value, form)
    elif OUTPUT.value:
        raise InputError("--output is for exports: say --export npy or parquet")
    setup = writer_first(lambda: prepare(settings))
    mesh = distributed.make_mesh(settings.devices or None)
    splits = [split for split, clips in setup.dataset.splits.items() if clips]
    stores = embed_all(setup, splits, mesh)
    if form and distributed.is_writer():
        folder = program.required(OUTPUT)
        export_tokens(stores, folder, WHAT.value, form)
        print(f"everything is in {folder}/")


def info() -> None:
    """Lists all stores."""
    stores = maintenance.list_stores(token_root())
    if stores:
        print(maintenance.table(stores))
    size = size_text(sum(store.bytes for store in stores))
    print(f"{len(stores)} stores, {size} in {token_root()}")
    for path in maintenance.strays(token_root(), stores):
        print(f"not known what it is: {path.name} (a damaged manifest, or none)")


def verify() -> None:
    """Prints a line for every store; ends with 1 where one is not as it was written."""
    chosen = program.has_config()
    paths = (
        paths_of(program.experiment()) if chosen else maintenance.places(token_root())
    )
    damaged = unread = 0
    for path in paths:
        try:
            faults = maintenance.verify(path)
        except InputError as error:
            unread += 1
            print(error)
            continue
        damaged += bool(faults)
        more = f", and {len(faults) - 1} more faults" if faults[1:] else ""
        said = f"damaged ({faults[0]}{more})" if faults else "as it was written"
        print(f"{path}: {said}", flush=True)
    print(f"{len(paths)} stores, {damaged} damaged, {unread} could not be read")
    if damaged:
        print("embed again: what is damaged is made again")
    if damaged or unread:
        sys.exit(1)


def prune() -> None:
    """Lists what nothing uses; deletes it if told to."""
    stores = maintenance.list_stores(token_root())
    kept = [program.experiment()] if program.has_config() else []
    kept += map(program.experiment_in, KEEP.value)
    runs = runs_that_use()
    if not (kept or runs):
        raise InputError(
            "--prune would leave nothing: say what is used with --config, --keep or "
            "--runs"
        )
    mine = {path for settings in kept for path in paths_of(settings)}
    found = maintenance.unused(stores, [lambda store: store.path in mine, *runs])
    written = [store for store in found if store.may_be_being_written]
    gone = [store for store in found if store not in written]
    if gone:
        print(maintenance.table(gone))
    for store in gone if YES.value else ():
        maintenance.remove(store)
        print(f"deleted: {store.path.name}", flush=True)
    if written:
        print(
            f"left alone, somebody may be writing them:\n{maintenance.table(written)}"
        )
    size = size_text(sum(store.bytes for store in gone))
    end = "deleted" if YES.value else "used by nothing; --yes deletes them"
    print(f"{len(gone)} of {len(stores)} stores, {size}: {end}")
    print(f"used is what these read: configurations {len(kept)}, runs {len(runs)}")


def runs_that_use() -> list[Callable[[StoredTokens], bool]]:
    """What tells the stores that the runs in the folder `--runs` read."""
    if not RUNS.value:
        return []
    folder = pathlib.Path(RUNS.value)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: --runs names that of the runs whose tokens "
            "are to stay, --runs= says that there are none"
        )
    return maintenance.uses_under(folder)


def paths_of(settings: Experiment) -> list[Place]:
    """Where the tokens of an experiment are or would be."""
    setup, tokens = prepare(settings), settings.tokens
    return [
        estimate_store(
            setup.encoder,
            setup.dataset,
            split,
            dtype=tokens.dtype,
            layers=setup.reads_layers,
            lengths=tokens.lengths,
        )["path"]
        for split, clips in setup.dataset.splits.items()
        if clips
    ]


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch_plain(main, __doc__, takes_config=True)
