"""Descriptions of data sets: what is known before their files are read."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from unmute_jax.datasets.counting import refuse_while_counting
from unmute_jax.datasets.dataset import Task
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.hub import downloaded, has_tables
from unmute_jax.downloads import download
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir

AnyFiles = TypeVar("AnyFiles", bound=Files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """A file that its publisher serves over HTTP.

    Attributes:
        url: Address of the file.
        name: Name of the file in the cache.
        megabytes: Approximate size in MB; 0 where it is not known.
        md5: MD5 of the file, where it is published.
    """

    url: str
    name: str
    megabytes: int = 0
    md5: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Description of a data set whose files need not be there.

    Attributes:
        name: Name of the data set, as `load_dataset` takes it.
        title: Usual name of the data set, with its version.
        task: "multi-label" or "single-label".
        classes: Number of classes.
        splits: Official size of each split; 0 where it is not known.
        protocol: Description of the splits, quoted in results.
        layout: "verified" if the expected layout of the files was checked against the
            official files or code that reads them, otherwise "assumed".
        checked: What the layout was checked against, or what is assumed.
        files: Description of what `data_dir` must hold.
        licence: Licence of the audio.
        citation: Publication to cite.
        home: Address where the data set is published.
        steps: Instructions for getting what cannot be downloaded automatically.
        downloads: Files that can be downloaded automatically, if any.
        max_seconds: Length to which clips are cut, in seconds; None keeps all of them.
        has_events: Whether onsets and offsets of the events are known.
        notes: Remarks that a reader of the results needs.
        cache_name: Name of the folder in the cache; by default the part of `name`
            before the slash.
    """

    name: str
    title: str
    task: Task
    classes: int
    splits: Mapping[str, int]
    protocol: str = "official splits"
    layout: Literal["verified", "assumed"]
    checked: str
    files: str
    licence: str
    citation: str
    home: str
    steps: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    max_seconds: float | None = None
    has_events: bool = False
    notes: tuple[str, ...] = ()
    cache_name: str = ""

    @property
    def folder(self) -> pathlib.Path:
        """The cache folder that is searched, and filled, where no place is given."""
        name = self.cache_name or self.name.split("/")[0]
        return cache_dir("datasets") / name

    @property
    def metric(self) -> str:
        """The metric of the results."""
        return "mAP" if self.task == "multi-label" else "accuracy"


def obtain(
    info: DatasetInfo,
    data_dir: str | os.PathLike[str] | None,
    find: Callable[[pathlib.Path], AnyFiles | None],
) -> AnyFiles:
    """Finds the files of a data set in `data_dir` or in the cache, or downloads them.

    Args:
        info: Description of the data set.
        data_dir: Place that the user names, if any. Then nothing is downloaded, except
            for a place on the hub, "hf:OWNER/NAME".
        find: Function that looks for the files in a place and returns None if they are
            not there.

    Raises:
        InputError: The files cannot be found; the message says how to get them.
        NotHereError: They would be downloaded, but are only to be counted.
    """
    if data_dir is not None:
        on_hub = str(data_dir).startswith("hf:")
        place = downloaded(str(data_dir)[3:]) if on_hub else pathlib.Path(data_dir)
        if files := find(place):
            return files
        other = f"; hf:{data_dir} reads the tables there" if has_tables(place) else ""
        raise InputError(
            f"{data_dir}: no {info.title} here, only {_contents(place)}; give "
            f"{info.files}{other}"
        )
    # Some of the downloads alone could pass for a small copy of the data set.
    unfinished = info.folder / ".fetching"
    if (
        info.folder.exists()
        and not unfinished.exists()
        and (files := find(info.folder))
    ):
        return files
    if info.downloads:
        refuse_while_counting(
            f"{info.name} is not in {info.folder}: downloaded when needed ({info.home})"
        )
    else:
        raise InputError(how_to_get(info, f"is not in {info.folder}"))
    for item in info.downloads:
        checksum = f"md5:{item.md5}" if item.md5 else None
        try:
            download(item.url, info.folder, checksum=checksum, name=item.name)
        except InputError as error:
            problem = f"is not in {info.folder}: {error}"
            raise InputError(how_to_get(info, problem)) from None
        unfinished.touch()
    unfinished.unlink(missing_ok=True)
    if files := find(info.folder):
        return files
    urls = ", ".join(item.url for item in info.downloads)
    raise InputError(
        f"{urls}: what was downloaded to {info.folder} is not {info.title}"
    )


def how_to_get(info: DatasetInfo, problem: str) -> str:
    """Returns a message with the problem and the steps that help, one to a line.

    Args:
        info: Description of the data set.
        problem: Continuation of a sentence that begins with the title of the data set.
    """
    steps = [f"get {item.url}{_size(item)}" for item in info.downloads]
    steps += info.steps
    steps.append(
        f"put it into {info.folder}, or name its place as data_dir: {info.files}"
    )
    numbered = [f"  {i}. {step}" for i, step in enumerate(steps, start=1)]
    head = f"{info.name}: {info.title} {problem}; {info.home} has it:"
    return "\n".join([head, *numbered])


def as_table(infos: Sequence[DatasetInfo]) -> str:
    """Returns a Markdown table of data sets."""
    rows = [
        "| name | data set | classes | task | metric | splits | events | layout "
        "| licence |",
        "|---|---|---:|---|---|---|---|---|---|",
    ]
    for i in infos:
        splits = ", ".join(f"{s} {n:,}" if n else s for s, n in i.splits.items())
        events = "onsets, offsets" if i.has_events else ""
        rows.append(
            f"| `{i.name}` | {i.title} | {i.classes} | {i.task} | {i.metric} "
            f"| {splits} ({i.protocol}) | {events} | {i.layout} | {i.licence} |"
        )
    return "\n".join(rows)


def _size(item: Download) -> str:
    size = f" (about {item.megabytes:,} MB)" if item.megabytes else ""
    return size if item.url.endswith(f"/{item.name}") else f"{size} as {item.name}"


def _contents(data_dir: str | os.PathLike[str], most: int = 5) -> str:
    """Returns the first names in a place, for a message."""
    place = pathlib.Path(data_dir).expanduser()
    names = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more]) or "something else"
