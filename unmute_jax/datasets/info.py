"""What is known of a data set before any of its files is read, and how to get it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from unmute_jax.datasets.dataset import Task
from unmute_jax.datasets.files import Files
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir, download

Found = TypeVar("Found", bound=Files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """A file that its publisher hands out over plain HTTP.

    Attributes:
        url: Where it is.
        name: What it is called here.
        megabytes: About its size; 0 where it is not known.
        md5: Of the file, where it is published.
    """

    url: str
    name: str
    megabytes: int = 0
    md5: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A data set, before any of its files is read.

    Attributes:
        name: In the registry.
        title: What people call it, with its version.
        task: "multi-label" or "single-label".
        classes: How many.
        splits: Their official sizes, by name; 0 where none is known.
        protocol: What the splits are, for the results.
        layout: Whether what a builder expects of the files was checked ("verified")
            against the official files or code that reads them, or is "assumed".
        checked: Against what, or what is assumed.
        files: What the place that a person names must hold.
        licence: Of the audio.
        citation: Whom to cite.
        home: Where it is published.
        steps: What to do where it cannot be fetched, one step each, but for the
            downloads.
        downloads: What can be fetched; nothing where only the steps help.
        sample_rate: Of the stored audio in Hz; 0: that of the first clip.
        longest: Longer clips keep their first seconds, this many; None keeps all.
        is_strong: Whether onsets and offsets of its events are known.
        notes: What a reader of results must know.
        place: Its folder in the cache, if not that of its name before the slash.
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
    sample_rate: int = 0
    longest: float | None = None
    is_strong: bool = False
    notes: tuple[str, ...] = ()
    place: str = ""

    @property
    def folder(self) -> pathlib.Path:
        """Where its files are looked for, and put, when a person names no place."""
        name = self.place or self.name.split("/")[0]
        return cache_dir("datasets") / name

    @property
    def metric(self) -> str:
        """What its results are told in."""
        return "mAP" if self.task == "multi-label" else "accuracy"


def obtain(
    facts: DatasetInfo,
    data_dir: str | os.PathLike[str] | None,
    find: Callable[[pathlib.Path], Found | None],
) -> Found:
    """The files of a data set: where a person says, in the cache, or fetched.

    Args:
        facts: Of the data set.
        data_dir: The place that a person names, if any.
        find: Looks for the files in a place; None: they are not there.

    Raises:
        InputError: They are nowhere; the message says how to get them.
    """
    if data_dir is not None:
        if files := find(pathlib.Path(data_dir)):
            return files
        raise InputError(
            f"{data_dir}: no {facts.title} here, only {_contents(data_dir)}; give "
            f"{facts.files}"
        )
    # Half of what is to be fetched could pass for a small copy.
    begun = facts.folder / ".fetching"
    if facts.folder.exists() and not begun.exists() and (files := find(facts.folder)):
        return files
    if not facts.downloads:
        raise InputError(how_to_get(facts, f"is not in {facts.folder}"))
    facts.folder.mkdir(parents=True, exist_ok=True)
    for item in facts.downloads:
        if (facts.folder / item.name).exists():
            continue
        checksum = f"md5:{item.md5}" if item.md5 else None
        try:
            download(item.url, facts.folder, checksum=checksum, name=item.name)
        except InputError as error:
            problem = f"is not in {facts.folder}: {error}"
            raise InputError(how_to_get(facts, problem)) from None
        begun.touch()
    begun.unlink(missing_ok=True)
    if files := find(facts.folder):
        return files
    urls = ", ".join(item.url for item in facts.downloads)
    raise InputError(f"{urls}: what came is not {facts.title}, in {facts.folder}")


def how_to_get(facts: DatasetInfo, problem: str) -> str:
    """What is wrong, then the steps that help, one to a line."""
    steps = list(facts.steps)
    if facts.downloads:
        gets = [f"get {item.url}{_size(item)}" for item in facts.downloads]
        steps = [*gets, *steps]
    steps.append(
        f"put it into {facts.folder}, or name its place as data_dir: {facts.files}"
    )
    numbered = [f"  {i}. {step}" for i, step in enumerate(steps, start=1)]
    head = f"{facts.name}: {facts.title} {problem}; {facts.home} has it:"
    return "\n".join([head, *numbered])


def as_table(all_facts: Sequence[DatasetInfo]) -> str:
    """All data sets as a Markdown table."""
    rows = [
        "| name | data set | classes | task | metric | splits | events | layout "
        "| licence |",
        "|---|---|---:|---|---|---|---|---|---|",
    ]
    for f in all_facts:
        splits = ", ".join(f"{s} {n:,}" if n else s for s, n in f.splits.items())
        events = "onsets, offsets" if f.is_strong else ""
        rows.append(
            f"| `{f.name}` | {f.title} | {f.classes} | {f.task} | {f.metric} "
            f"| {splits} ({f.protocol}) | {events} | {f.layout} | {f.licence} |"
        )
    return "\n".join(rows)


def _size(item: Download) -> str:
    size = f" (about {item.megabytes:,} MB)" if item.megabytes else ""
    return size if item.url.endswith(f"/{item.name}") else f"{size} as {item.name}"


def _contents(data_dir: str | os.PathLike[str], most: int = 5) -> str:
    """The first names in a place, for a message."""
    place = pathlib.Path(data_dir).expanduser()
    names = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more]) or "something else"
