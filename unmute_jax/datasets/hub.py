"""Finds the tables of a data set of Hugging Face, in a folder or on the hub."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.console import size_text
from unmute_jax.datasets.counting import refuse_while_counting
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.hub_layout import Layout, layout_of, layout_on_disk
from unmute_jax.datasets.parquet import SUFFIXES
from unmute_jax.downloads import (
    HubListing,
    check_hub_room,
    fetch_from_hub,
    find_in_hub_cache,
    hub_files,
)
from unmute_jax.errors import InputError

# The hub converts data sets of other formats to parquet files on this branch.
_CONVERTED = "refs/convert/parquet"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# The address of a data set's page, as a browser shows it.
_ADDRESS = re.compile(
    r"https?://[^/]+/datasets/([\w.-]+/[\w.-]+(?::[^/?#]+)?)(?:[/?#].*)?"
)
_README = "README.md"
_ON_DISK = "after a download (hf download), folder:PATH or wds:PATH"
# Folders around tables: "data", or a configuration and a split.
_DEPTH = 3
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of a data set, in a folder or on the hub.

    Attributes:
        name: Name of the data set.
        layout: Its tables.
        licence: Licence that its README names; empty if it names none.
        folder: Its folder; None on the hub.
        repository: Repository on the hub, "OWNER/NAME"; empty for a folder.
        listing: What the hub has of it; None for a folder.
    """

    name: str
    layout: Layout
    licence: str
    folder: pathlib.Path | None = None
    repository: str = ""
    listing: HubListing | None = None

    def fetch(self, files: Iterable[str]) -> pathlib.Path:
        """Returns the folder with some files, which are downloaded from the hub.

        Args:
            files: Paths of one or more files.
        """
        if self.folder or not self.listing:
            return self.folder or pathlib.Path()
        files = list(files)
        if missing := self.missing(files):
            described = self.described(missing)
            refuse_while_counting(
                f"hf:{self.name}: {described} are downloaded when needed"
            )
        if len(missing) > 1:
            needed = sum(self.listing.sizes[file] for file in missing)
            check_hub_room(needed, f"the {len(missing)} files of {self.name}")
            _log.warning("%s: downloading %s", self.name, self.described(missing))
        paths = [_fetch(self.repository, file, self.listing) for file in files]
        return paths[0].parents[files[0].count("/")]

    def missing(self, files: Iterable[str]) -> list[str]:
        """Returns those of some files that have to be downloaded."""
        if not self.listing:
            return []
        at = {"revision": self.listing.commit, "repo_type": "dataset"}
        return [f for f in files if not find_in_hub_cache(self.repository, f, **at)]

    def tables(self) -> list[str]:
        """Returns the tables of all splits."""
        return [name for names in self.layout.splits.values() for name in names]

    def described(self, files: Sequence[str]) -> str:
        """Returns the number and the size of files, such as "3 files (2.1 GB)"."""
        if not files:
            return ""
        sizes = self.listing.sizes if self.listing else {}
        total = size_text(sum(sizes[file] for file in files))
        return f"{len(files)} file{'s' if len(files) > 1 else ''} ({total})"


def has_tables(place: pathlib.Path) -> bool:
    """Returns whether a folder has tables, no deeper than the layouts of the hub."""
    for folder, inner, files in os.walk(place):
        if _tables(files):
            return True
        depth = len(pathlib.Path(folder).relative_to(place).parts)
        inner[:] = [n for n in inner if depth < _DEPTH and not n.startswith(".")]
    return False


def downloaded(place: str) -> pathlib.Path:
    """Returns a folder with all tables of a data set of the hub.

    Args:
        place: "OWNER/NAME" or "OWNER/NAME:CONFIG".
    """
    copy = find_copy(place)
    return copy.fetch(copy.tables())


def find_copy(place: str, revision: str = "", *, prefer: Sequence[str] = ()) -> Copy:
    """Finds a folder of tables, or the tables of a data set on the hub.

    Args:
        place: Path of the folder, or of one table, or "OWNER/NAME" of the hub, with
            ":CONFIG" at its end if it has several configurations.
        revision: Branch, tag or commit on the hub; by default "main", or the hub's own
            conversion to parquet files.
        prefer: Names of configurations of which the first one that is there is read,
            if none is named.

    Raises:
        InputError: There is no such data set, or it has no tables.
    """
    path = pathlib.Path(place).expanduser()
    if path.is_dir():
        return _folder(path, "", prefer)
    if path.is_file() and path.suffix in SUFFIXES:
        tables = Layout("", {"train": (path.name,)}, {})
        folder = path.absolute().parent
        return Copy(name=path.stem, folder=folder, layout=tables, licence="")
    folder, _, config = place.rpartition(":")
    if folder and pathlib.Path(folder).expanduser().is_dir():
        return _folder(pathlib.Path(folder).expanduser(), config)
    address = _ADDRESS.fullmatch(place)
    repository, _, config = (address[1] if address else place).partition(":")
    if not _REPOSITORY.fullmatch(repository) or place.startswith((".", "/", "~")):
        raise InputError(
            f"hf:{place}: there is no such folder, and data sets on the hub are named "
            "hf:OWNER/NAME or hf:OWNER/NAME:CONFIG"
        )
    return _repository(repository, config, revision)


def _folder(path: pathlib.Path, config: str, prefer: Sequence[str] = ()) -> Copy:
    root = path.absolute()
    name = root.name
    names = Folder(root).names()
    layout = layout_on_disk(root)
    card = _card(root / _README) if _README in names else {}
    if layout is None:
        _check_tables(names, str(root), f"folder:{path} or wds:{path}")
        layout = layout_of(names, card, config, str(root), prefer)
    elif config:
        raise InputError(f"{root}: has no configurations, {config!r} was given")
    return Copy(
        name=_named(name, layout), folder=root, layout=layout, licence=_licence(card)
    )


def _repository(repository: str, config: str, revision: str) -> Copy:
    listing = hub_files(repository, revision=revision or None)
    if not revision and not _tables(listing.sizes):
        there = list(listing.sizes)
        try:
            listing = hub_files(repository, revision=_CONVERTED)
        except InputError:
            _check_tables(there, repository, _ON_DISK)
            raise
    names = list(listing.sizes)
    _check_tables(names, repository, _ON_DISK)
    card = _card(_fetch(repository, _README, listing)) if _README in names else {}
    layout = layout_of(names, card, config, repository)
    return Copy(
        name=_named(repository, layout),
        layout=layout,
        licence=_licence(card),
        repository=repository,
        listing=listing,
    )


def _fetch(repository: str, file: str, listing: HubListing) -> pathlib.Path:
    return fetch_from_hub(
        repository, file, revision=listing.commit, repo_type="dataset"
    )


def _named(name: str, layout: Layout) -> str:
    """Returns the name of a copy with that of its configuration, where it has one."""
    return name if layout.config in ("", "default") else f"{name}:{layout.config}"


def _tables(names: Sequence[str] | Mapping[str, int]) -> list[str]:
    return [name for name in names if name.endswith(SUFFIXES)]


def _check_tables(names: Sequence[str], where: str, else_read: str) -> None:
    if _tables(names):
        return
    kinds = {pathlib.PurePosixPath(name).suffix for name in names} - {"", ".md"}
    raise InputError(
        f"{where}: has no parquet or Arrow files, only "
        f"{', '.join(sorted(kinds)) or 'nothing'}; {else_read} reads folders of audio "
        "and tar archives"
    )


def _card(path: pathlib.Path) -> dict[str, Any]:
    import yaml
    from huggingface_hub.repocard import metadata_load

    try:
        card = metadata_load(path)
    except (yaml.YAMLError, ValueError, OSError, RecursionError):
        raise InputError(f"{path}: its head is no YAML mapping") from None
    return card if isinstance(card, dict) else {}


def _licence(card: Mapping[str, Any]) -> str:
    licence = card.get("license", "")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence)
