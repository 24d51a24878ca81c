"""Lists and deletes token stores, and explains why none of them could be used."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unmute_jax.console import duration_text, size_text
from unmute_jax.errors import InputError
from unmute_jax.io import parse_json
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    list_files,
    path_or_url,
    read_file,
)
from unmute_jax.store.key import FORMAT, key_differences
from unmute_jax.store.layout import Layout, unusable_shards
from unmute_jax.store.manifest import MANIFEST, read_manifest

# Seconds without a new file after which no process can be writing a store any more.
ABANDONED_AFTER = 2 * 3600.0
# Fields besides the key that manifests of all formats have.
MANIFEST_FIELDS = ("format", "clips", "complete")


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """A store on a local disk.

    Attributes:
        path: Folder of the store.
        key: Key of its tokens.
        format: Format of its files.
        clips: Number of clips of the complete store.
        done: Number of clips that exist, without shards that were found damaged.
        complete: Whether it was ever complete.
        bytes: Bytes that it takes on disk.
        written: Seconds since its last file was written.
        used: Seconds since it was last written or read, as far as the system knows.
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
    def may_still_be_written(self) -> bool:
        """Whether a process may be writing it at present."""
        return self.done < self.clips and self.written < ABANDONED_AFTER

    @property
    def state(self) -> str:
        """A few words for people."""
        if self.format != FORMAT:
            return f"format {self.format}, this program has {FORMAT}"
        if self.done < self.clips:
            state = "damaged" if self.complete else "unfinished"
            return f"{state}, {self.done} clips are there"
        return "complete" if self.complete else "unfinished, all clips are there"


# Whether somebody uses a store.
Use = Callable[[StoreInfo], bool]


# Lists of stores


def store_folders(root: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in `root` that have a manifest, whatever it says.

    Raises:
        InputError: If `root` is not a local folder.
    """
    root = _local(root)
    return [root / name for name in _folders(root)]


def list_stores(root: str | pathlib.Path) -> list[StoreInfo]:
    """Returns every store in a folder, except those with a damaged manifest.

    Raises:
        InputError: If `root` is not a local folder.
    """
    root = _local(root)
    stores = [_inspect(root / name, m) for name, m in list_manifests(root)]
    return [store for store in stores if store is not None]


def unrecognised_folders(
    root: str | pathlib.Path, stores: Sequence[StoreInfo]
) -> list[pathlib.Path]:
    """Returns the folders in `root` that are none of `stores`."""
    known = {store.path for store in stores}
    return sorted(p for p in _local(root).glob("*") if p.is_dir() and p not in known)


def format_table(stores: Sequence[StoreInfo]) -> str:
    """Returns a text table with one line per store."""
    rows = [("tokens of", "encoder", "type", "clips", "size", "used", "state")]
    for s in stores:
        key = s.key
        dtype = ", ".join([key["dtype"], *layers_in_words(key)])
        split, used = f"{key['dataset']} {key['split']}", f"{duration_text(s.used)} ago"
        facts = (dtype, str(s.clips), size_text(s.bytes), used, s.state)
        rows.append((split, key["encoder"]["name"], *facts))
    folders = ["folder", *(s.path.name for s in stores)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, row, widths), name])
        for row, name in zip(rows, folders, strict=True)
    )


def layers_in_words(key: dict[str, Any]) -> list[str]:
    """Returns which other layers than the last a store has, a few words for each."""
    words = {
        "layer": "layer {}",
        "layers": "{} layer{s}",
        "layer_summaries": "summaries of {} layer{s}",
    }
    return [
        text.format(key[field], s="s" * (key[field] != 1))
        for field, text in words.items()
        if field in key
    ]


def list_manifests(root: str | pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and manifest of each store in `root`, finished or not, of any format.

    Folders without a readable manifest are left out.
    """
    root = path_or_url(root)
    for name in _folders(root):
        data = read_file(root, f"{name}/{MANIFEST}")
        try:
            manifest = parse_json(data or b"")
            _ = _subject(manifest["key"]), *map(manifest.__getitem__, MANIFEST_FIELDS)
        except (ValueError, LookupError, TypeError):
            continue
        yield name, manifest


def explain_miss(root: str | pathlib.Path, key: dict) -> list[str]:
    """Explains why no store in `root` has this key.

    Only stores of the same data set, split and encoder name are compared. There is one
    line for every field in which the most similar stores differ, or a single line if
    there is nothing to compare with.
    """
    candidates = {
        name: key_differences(manifest["key"], key)
        for name, manifest in list_manifests(root)
        if _subject(manifest["key"]) == _subject(key) and manifest["key"] != key
    }
    if not candidates:
        dataset, split, encoder = _subject(key)
        return [f"there are no tokens of {dataset} {split} by {encoder} under {root}"]
    fewest = min(map(len, candidates.values()))
    return [
        f"{name} differs in {line}"
        for name, lines in candidates.items()
        if len(lines) == fewest
        for line in lines
    ]


def _local(root: str | pathlib.Path) -> pathlib.Path:
    root = path_or_url(root)
    if isinstance(root, str):
        raise InputError(
            f"{root} is not a local folder: use the tools of your bucket instead"
        )
    return root


def _inspect(path: pathlib.Path, manifest: dict[str, Any]) -> StoreInfo | None:
    """Describes a store; returns None if its manifest is damaged."""
    try:
        read_manifest(path)
    except DamagedStoreError:
        return None
    except InputError:  # It is of another format.
        done = manifest["clips"]
    else:
        layout = Layout.from_manifest(manifest)
        done = layout.clips - layout.count_clips(unusable_shards(path, layout))
    stats, now = dict(_file_stats(path)), time.time()
    written = max(s.st_mtime for s in stats.values())
    # Without the manifest, which is read whenever stores are listed.
    read = [s.st_atime for name, s in stats.items() if name != path / MANIFEST]
    return StoreInfo(
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


def _file_stats(
    folder: pathlib.Path,
) -> Iterator[tuple[pathlib.Path, os.stat_result]]:
    """Yields the status of every file, except those deleted in the meantime."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _subject(key: dict) -> tuple[str, str, str]:
    return key["dataset"], key["split"], key["encoder"]["name"]


def _folders(root: PathOrUrl) -> list[str]:
    """Returns the names of the folders in `root` that have a manifest, in order."""
    if isinstance(root, pathlib.Path):
        # A listing through tensorstore would name every file of every store.
        return sorted(p.parent.name for p in root.glob(f"*/{MANIFEST}"))
    names = (name.split("/") for name in list_files(root))
    return sorted(parts[0] for parts in names if parts[1:] == [MANIFEST])


# Unused stores


def used_by_run(run: pathlib.Path) -> Use:
    """Returns a test for the stores that a run, finished or not, reads.

    Which input lengths and layers the run reads is not considered, so that a store is
    kept rather than lost.

    Args:
        run: Folder of the run, with `config.json` and `sources.json`.

    Raises:
        InputError: If these files cannot be read.
    """
    try:
        config, sources = (
            parse_json((run / f"{name}.json").read_bytes())
            for name in ("config", "sources")
        )
        dtype, encoder = config["tokens"]["dtype"], sources["encoder"]
        # Compared instead of names, because a data set may have several.
        fingerprints = dict(sources["fingerprints"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{run} cannot be read as the folder of a run") from error

    def uses(store: StoreInfo) -> bool:
        key = store.key
        mine = (dtype, encoder, fingerprints.get(key["split"]))
        return mine == (key["dtype"], key["encoder"], key["fingerprint"])

    return uses


def used_by_runs(folder: pathlib.Path) -> list[Use]:
    """Returns `used_by_run` of all runs in a folder, at any depth.

    Runs without `sources.json` have read no store.
    """
    return [used_by_run(file.parent) for file in sorted(folder.rglob("sources.json"))]


def unused(stores: Iterable[StoreInfo], uses: Sequence[Use]) -> list[StoreInfo]:
    """Returns the stores that nothing uses.

    No program of this version can use a store of an older format. Whether something
    uses a store of a newer format is unknown, so these count as used.
    """
    return [
        store
        for store in stores
        if store.format < FORMAT
        or (store.format == FORMAT and not any(use(store) for use in uses))
    ]


def remove(store: StoreInfo) -> None:
    """Deletes a store. If the deletion is interrupted, the rest is still listed.

    Raises:
        InputError: If a file cannot be deleted.
    """
    try:
        for part in store.path.iterdir():
            if part.name != MANIFEST:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        shutil.rmtree(store.path)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
