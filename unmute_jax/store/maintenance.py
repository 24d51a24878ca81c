"""All token stores in one place: what is there, what of it is needed, and by whom."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorstore as ts

from unmute_jax.console import duration_text, progress, size_text
from unmute_jax.errors import InputError
from unmute_jax.store.files import (
    DamagedStore,
    Place,
    clear_errors,
    list_files,
    place_of,
    read_file,
    unsealed,
    write_file,
)
from unmute_jax.store.key import FORMAT, MANIFEST, differences
from unmute_jax.store.layout import (
    LARGE,
    MARKS,
    Layout,
    open_arrays,
    read_manifest,
    unsound_shards,
)

# Seconds without a new file after which nobody can be writing a store any more.
QUIET = 2 * 3600.0
# What manifests of all formats say besides their key.
FACTS = ("format", "clips", "complete")


@dataclass(frozen=True, kw_only=True)
class StoredTokens:
    """A store as it lies on a local disk.

    Attributes:
        path: Its folder.
        key: What its tokens are.
        format: That of its files.
        clips: Number of clips when it is complete.
        done: Number of clips that are there, and in no shard that was found damaged.
        complete: Whether it once was.
        bytes: What it takes on disk.
        written: Seconds since its last file was written.
        used: Seconds since it was last written or read, as far as the system tells.
    """

    path: pathlib.Path
    key: dict[str, Any]
    format: int
    clips: int
    done: int
    complete: bool
    bytes: int
    written: float
    used: float

    @property
    def may_be_being_written(self) -> bool:
        """Whether a process may be at work on it."""
        return self.done < self.clips and self.written < QUIET

    @property
    def state(self) -> str:
        """In a few words."""
        if self.format != FORMAT:
            return f"format {self.format}, this program has {FORMAT}"
        if self.done < self.clips:
            why = "damaged" if self.complete else "unfinished"
            return f"{why}, {self.done} clips are there"
        return "complete" if self.complete else "unfinished, all clips are there"


# Whether somebody reads a store.
Use = Callable[[StoredTokens], bool]


def places(root: str | pathlib.Path) -> list[pathlib.Path]:
    """The folders in `root` that have a manifest, whatever it says.

    Raises:
        InputError: It is no local folder.
    """
    root = _local(root)
    return [root / name for name in _folders(root)]


def list_stores(root: str | pathlib.Path) -> list[StoredTokens]:
    """Every store in a folder, but for those with a damaged manifest.

    Raises:
        InputError: It is no local folder.
    """
    root = _local(root)
    found = [_stored(root / name, m) for name, m in manifests_under(root)]
    return [store for store in found if store is not None]


def strays(
    root: str | pathlib.Path, stores: Sequence[StoredTokens]
) -> list[pathlib.Path]:
    """The folders beside `stores`; nobody can tell what they hold."""
    known = {store.path for store in stores}
    return sorted(p for p in _local(root).glob("*") if p.is_dir() and p not in known)


def table(stores: Sequence[StoredTokens]) -> str:
    """A line per store, for a person."""
    rows = [("tokens of", "encoder", "type", "clips", "size", "used", "state")]
    for s in stores:
        k, layers = s.key, s.key.get("layers")
        kind = f"{k['dtype']}{f', {layers} layers' if layers else ''}"
        of, used = f"{k['dataset']} {k['split']}", f"{duration_text(s.used)} ago"
        facts = (kind, str(s.clips), size_text(s.bytes), used, s.state)
        rows.append((of, k["encoder"]["name"], *facts))
    folders = ["folder", *(s.path.name for s in stores)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, row, widths), name])
        for row, name in zip(rows, folders, strict=True)
    )


def uses_of(run: pathlib.Path) -> Use:
    """What tells the stores that a run, finished or not, reads.

    Which lengths and layers it reads is not asked: rather one kept too many.

    Args:
        run: Its folder, with `config.json` and `sources.json`.

    Raises:
        InputError: They cannot be read.
    """
    try:
        config, sources = (
            json.loads((run / f"{name}.json").read_text("utf-8"))
            for name in ("config", "sources")
        )
        dtype, encoder = config["tokens"]["dtype"], sources["encoder"]
        # That of a split covers its clips; a data set may be known by several names.
        fingerprints = dict(sources["fingerprints"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{run} cannot be read as the folder of a run") from error

    def uses(store: StoredTokens) -> bool:
        key = store.key
        mine = (dtype, encoder, fingerprints.get(key["split"]))
        return mine == (key["dtype"], key["encoder"], key["fingerprint"])

    return uses


def uses_under(folder: pathlib.Path) -> list[Use]:
    """`uses_of` all runs in a folder, however deep. A run without sources read none."""
    return [uses_of(file.parent) for file in sorted(folder.rglob("sources.json"))]


def unused(stores: Iterable[StoredTokens], uses: Sequence[Use]) -> list[StoredTokens]:
    """The stores that nothing uses.

    One of an older format can be used by nothing; of a newer format nobody can tell.
    """
    return [
        store
        for store in stores
        if store.format < FORMAT
        or (store.format == FORMAT and not any(use(store) for use in uses))
    ]


def remove(store: StoredTokens) -> None:
    """Deletes a store; where this stops on the way, what is left is still listed.

    Raises:
        InputError: Something cannot be deleted.
    """
    try:
        for part in store.path.iterdir():
            if part.name != MANIFEST:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        shutil.rmtree(store.path)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error


def _local(root: str | pathlib.Path) -> pathlib.Path:
    root = place_of(root)
    if isinstance(root, str):
        raise InputError(f"{root} is no local folder: ask the tools of your bucket")
    return root


def _stored(path: pathlib.Path, manifest: dict[str, Any]) -> StoredTokens | None:
    """What is known of a store; None where its manifest cannot be trusted."""
    try:
        read_manifest(path)
    except DamagedStore:
        return None
    except InputError:  # Of another format.
        done = manifest["clips"]
    else:
        layout = Layout.of(manifest)
        done = layout.clips - layout.clips_in(unsound_shards(path, layout))
    stats, now = dict(_stats(path)), time.time()
    written = max(s.st_mtime for s in stats.values())
    # Not the manifest: whoever lists stores reads it.
    read = [s.st_atime for name, s in stats.items() if name != path / MANIFEST]
    return StoredTokens(
        path=path,
        key=manifest["key"],
        format=manifest["format"],
        clips=manifest["clips"],
        done=done,
        complete=manifest["complete"],
        bytes=sum(s.st_size for s in stats.values()),
        written=now - written,
        used=now - max([written, *read]),
    )


def _stats(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, os.stat_result]]:
    """Of all files; those that somebody takes away meanwhile are left out."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                yield path, found


def manifests_under(root: str | pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and manifest of each store in `root`, finished or not, of any format.

    What is no store, or has a manifest that cannot be read, is left out.
    """
    place = place_of(root)
    for name in _folders(place):
        data = read_file(place, f"{name}/{MANIFEST}")
        try:
            manifest = json.loads(data or b"")
            _ = _subject(manifest["key"]), *map(manifest.__getitem__, FACTS)
        except (ValueError, LookupError, TypeError):
            continue
        yield name, manifest


def explain_miss(root: str | pathlib.Path, key: dict) -> list[str]:
    """Why no store under `root` has this key: what differs from the nearest ones.

    Only stores of the same data set, split and encoder name are compared. There is one
    line per differing field of each nearest store, or a single line when there is
    nothing to compare with.
    """
    same = {
        name: differences(manifest["key"], key)
        for name, manifest in manifests_under(root)
        if _subject(manifest["key"]) == _subject(key) and manifest["key"] != key
    }
    if not same:
        dataset, split, encoder = _subject(key)
        return [f"there are no tokens of {dataset} {split} by {encoder} under {root}"]
    fewest = min(map(len, same.values()))
    return [
        f"{name} differs in {line}"
        for name, lines in same.items()
        if len(lines) == fewest
        for line in lines
    ]


def _subject(key: dict) -> tuple[str, str, str]:
    return key["dataset"], key["split"], key["encoder"]["name"]


def _folders(place: Place) -> list[str]:
    """Names of what lies directly in a place and may be a store, in order."""
    if isinstance(place, pathlib.Path):
        # A listing through tensorstore would name every file of every store.
        return sorted(p.parent.name for p in place.glob(f"*/{MANIFEST}"))
    names = (name.split("/") for name in list_files(place))
    return sorted(parts[0] for parts in names if parts[1:] == [MANIFEST])


# Clips that are read at once of a large array; 13 layers of 10 s are 10 MB each.
PORTION = 16


def verify(path: Place) -> list[str]:
    """Reads every byte of a store; what is damaged is marked, to be made again.

    One that is unfinished is read as far as it goes.

    Returns:
        What is wrong with it, a line each; none where all is well.

    Raises:
        InputError: There is no store, it is of another format, or it cannot be read.
    """
    try:
        manifest = read_manifest(path)
    except DamagedStore as error:
        return [error.why]
    if manifest is None:
        raise InputError(f"there is no token store at {path}")
    layout, arrays, faults = Layout.of(manifest), {}, []
    for name in layout.arrays:
        try:
            arrays |= open_arrays(path, layout, [name])
        except DamagedStore as error:
            faults.append(f"{name}: {error.why}")
    unsound = unsound_shards(path, layout)
    if manifest["complete"]:
        faults += unsound.values()
    with progress(f"verifying {path}", len(layout.shards), unit="shards") as advance:
        for shard in layout.shards:
            if shard not in unsound:
                faults += _marked(path, layout, arrays, shard)
            advance(1)
    return faults


def mark_damage(path: Place, layout: Layout, shards: Iterable[int]) -> None:
    """Looks at some shards again, and marks those that are damaged.

    What is marked is made again by the next `embed`. A store that cannot be written to
    stays without marks.
    """
    arrays = open_arrays(path, layout)
    for shard in shards:
        _marked(path, layout, arrays, shard)


def _marked(
    path: Place, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> list[str]:
    """Marks a shard if it is damaged; says why, or nothing."""
    fault = _fault_of(path, layout, arrays, shard)
    if fault is None:
        return []
    with contextlib.suppress(InputError):
        write_file(path, f"{MARKS}{shard}", b"")
    return [f"shard {shard}: {fault}"]


def _fault_of(
    path: Place, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> str | None:
    """What is wrong with a shard, in one line; None if every byte of it is right.

    Args:
        path: The folder of the store.
        layout: Of the store.
        arrays: Of `open_arrays`, opened after whatever may have done harm.
        shard: Its index.
    """
    rows = layout.rows(shard)
    try:
        with clear_errors(path):
            unsealed(read_file(path, f"clips/{shard}") or b"")
        for name, array in arrays.items():
            step = PORTION if name in LARGE else rows.stop - rows.start
            for start in range(rows.start, rows.stop, step):
                with clear_errors(path):
                    part = array[start : min(start + step, rows.stop)]
                    part.read().result()
    except DamagedStore as error:
        return error.why
    return None
