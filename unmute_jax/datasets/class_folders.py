"""Reads a folder with one sub-folder per class, with or without folders of splits."""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Mapping, Sequence

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.audio.listing import LeftOut, Listing, describe, list_audio
from unmute_jax.datasets.names import is_fold, listed, normal_name, split_named
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.errors import InputError

# The folders around each file of a folder below the root, by the name of that folder.
_Inside = Mapping[str, Sequence[Sequence[str]]]


def read_class_folders(root: pathlib.Path) -> tuple[list[OwnEntry], list[str]]:
    """Lists the clips of a folder.

    Every audio file below `CLASS/` is a clip of that class. Folders that are called
    train, validation or test (or another name that `split_named` knows) are splits if
    they hold the folders of all classes, or if the folders of all classes hold them.
    Folders that are called fold1, fold2 and so on are groups in the same way.

    Args:
        root: The folder.

    Returns:
        The clips, sorted by path, and remarks on what is left out.

    Raises:
        InputError: There is no audio, folders of splits lie beside folders of classes,
            or a name is not valid UTF-8.
    """
    listing = list_audio(root)
    paths = [name.split("/") for name in listing.audio]
    inside = collections.defaultdict[str, list[list[str]]](list)
    for top, *rest in paths:
        if rest:
            inside[top].append(rest[:-1])
    if not inside:
        there = [*_beside(listing.audio), *listing.left_out]
        raise InputError(
            f"{root}: no audio in its sub-folders ({', '.join(SUFFIXES)}); there is "
            f"{describe(there) or 'nothing'}"
        )
    notes = _notes_on_copies(listing.audio)
    folds = [top for top in inside if is_fold(top)]
    holds_folds = len(folds) == len(inside)
    if len(folds) > 1 and not holds_folds:
        raise _beside_others(root, "folds", folds, inside)
    holds_splits = not holds_folds and _holds_splits(root, inside, notes)
    if holds_folds:
        _check_classes_inside(root, inside, "folds")
    # Where the name of the class and that of the split stand in a path.
    class_at = 1 if holds_splits or holds_folds else 0
    split_at = 0 if holds_splits else None
    if not class_at:
        split_at = 1 if _classes_hold_splits(inside, notes) else None
        _check_depth(root, inside)
    entries: list[OwnEntry] = []
    beside: list[str] = []
    for name, parts in zip(listing.audio, paths, strict=True):
        if len(parts) < class_at + 2:
            beside.append(name)
            continue
        split = None if split_at is None else split_named(parts[split_at])
        label = normal_name(parts[class_at])
        if not label:
            raise InputError(f"{root}: the folder of {name!r} has no name for a class")
        group = normal_name(parts[0]) if holds_folds else ""
        entries.append(
            OwnEntry(file=name, labels=(label,), split=split or "", group=group)
        )
    left_out = [*_beside(beside), *listing.left_out]
    notes += _notes_on_what_is_left_out(listing, entries, left_out, class_at)
    return entries, notes


def _holds_splits(root: pathlib.Path, inside: _Inside, notes: list[str]) -> bool:
    """Returns whether the folders below the root are splits, not classes.

    Args:
        root: The folder.
        inside: The folders around each audio file.
        notes: List to which a remark is added.

    Raises:
        InputError: That is not clear.
    """
    named = {top: split for top in sorted(inside) if (split := split_named(top))}
    others = [top for top in sorted(inside) if top not in named]
    if not named:
        return False
    loose = [top for top in named if not all(inside[top])]
    if others:
        # A train is a sound, too.
        if len(named) == 1 and loose:
            notes.append(
                f"the folder {loose[0]} is a class, not a split, because the other "
                f"folders ({listed(others)}) are no splits"
            )
            return False
        raise _beside_others(root, "splits", list(named), inside)
    _check_classes_inside(root, inside, "splits")
    for split in set(named.values()):
        if len(same := [top for top in named if named[top] == split]) > 1:
            raise InputError(
                f"{root}: {' and '.join(same)} are names of the same split, {split}; "
                "keep one of them"
            )
    return True


def _beside_others(
    root: pathlib.Path, kind: str, named: Sequence[str], inside: _Inside
) -> InputError:
    others = [top for top in inside if top not in named]
    return InputError(
        f"{root}: folders named after {kind} ({listed(named)}) lie beside others "
        f"({listed(others)}); move folders of classes into those of the {kind}, or "
        "rename them"
    )


def _check_classes_inside(root: pathlib.Path, inside: _Inside, kind: str) -> None:
    if not any(around for of_folder in inside.values() for around in of_folder):
        raise InputError(
            f"{root}: folders named after {kind} ({listed(list(inside))}) hold audio "
            "without folders of classes; put it into folders, or write a csv"
        )


def _check_depth(root: pathlib.Path, inside: _Inside) -> None:
    """Refuses a folder that holds the folder of the classes and nothing else."""
    top, *others = inside
    if not others and all(inside[top]) and len({a[0] for a in inside[top]}) > 1:
        raise InputError(
            f"{root}: all audio lies in {top}, so there is one class; if the classes "
            f"are the folders in it, name {root / top}"
        )


def _notes_on_copies(names: Sequence[str]) -> list[str]:
    """Returns a remark on files that may be one recording in several formats."""
    files = collections.defaultdict[str, list[str]](list)
    for name in names:
        files[os.path.splitext(name)[0]].append(name)
    copies = [same for same in files.values() if len(same) > 1]
    if not copies:
        return []
    return [
        f"files that differ in their suffix only, such as {' and '.join(copies[0])} "
        f"({len(copies):,} names), may be copies of one recording in different splits"
    ]


def _classes_hold_splits(inside: _Inside, notes: list[str]) -> bool:
    """Returns whether every class has its clips in folders of splits."""
    around = [folders for of_class in inside.values() for folders in of_class]
    in_splits = [bool(folders and split_named(folders[0])) for folders in around]
    if any(in_splits) and not all(in_splits):
        name = next(f for f, is_in in zip(around, in_splits, strict=True) if is_in)[0]
        notes.append(
            f"{sum(in_splits)} of {len(around)} clips lie in folders such as {name} "
            "inside of their class; these are not taken as splits, because the other "
            "clips have none"
        )
    return all(in_splits)


def _beside(names: Sequence[str]) -> list[LeftOut]:
    """Returns audio files that lie beside the folders of classes."""
    return [
        LeftOut(
            name=name,
            reason=f"{os.path.splitext(name)[1].lower()} beside the folders of classes",
        )
        for name in names
    ]


def _notes_on_what_is_left_out(
    listing: Listing,
    entries: Sequence[OwnEntry],
    left_out: Sequence[LeftOut],
    class_at: int,
) -> list[str]:
    """Returns remarks on classes without audio, then on all other files."""
    classes = {name for entry in entries for name in entry.labels}
    folders = {entry.file.split("/")[0] for entry in entries}
    silent: dict[str, list[LeftOut]] = {}
    if not class_at:
        names = map(normal_name, listing.folders)
        silent = {name: [] for name in names if name not in classes}
    others: list[LeftOut] = []
    for one in left_out:
        top, *rest = one.name.split("/")
        parts = rest if class_at else [top, *rest]
        is_in_class = len(parts) > 1 and (not class_at or top in folders)
        name = normal_name(parts[0]) if is_in_class else ""
        if is_in_class and name not in classes:
            silent.setdefault(name, []).append(one)
        else:
            others.append(one)
    there = {
        name: describe(files, names=False) or "no files"
        for name, files in sorted(silent.items())
    }
    notes: list[str] = []
    if len(there) == 1:
        ((name, what),) = there.items()
        notes.append(f"class {name} has no readable audio ({what})")
    elif there:
        each = [f"{name} ({what})" for name, what in there.items()]
        notes.append(f"classes without readable audio: {listed(each)}")
    if others:
        notes.append(f"left out: {describe(others)}")
    return notes
