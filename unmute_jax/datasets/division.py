"""Divides the clips of a data set into splits: as given, by rule, or into folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.names import SPLITS, listed, normal_name
from unmute_jax.datasets.splitting import folds_by_rule, split_by_rule
from unmute_jax.errors import InputError, one_line

# Fewer folds than this leave none for training beside the tested and the validated one.
LEAST_FOLDS = 3
# More folds than this are more trainings than anybody wants to start by accident.
MOST_FOLDS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Division:
    """The clips of every split, and the protocols that use the splits.

    Attributes:
        rows: Indices of the clips of each split, in the order of the clips.
        protocols: Every protocol, the default first. No two parts of a protocol share a
            group.
        notes: Remarks that a reader of the results needs, such as classes that have no
            training clip.
    """

    rows: dict[str, list[int]]
    protocols: tuple[Protocol, ...]
    notes: tuple[str, ...]


def divide(
    ids: Sequence[str],
    labels: Sequence[Sequence[int]],
    *,
    classes: Sequence[str],
    where: str,
    given: Sequence[str] = (),
    groups: Sequence[str] = (),
    folds: str | int = "",
) -> Division:
    """Divides clips into splits as they are given, by rule, or into folds.

    Without `folds`, splits that are given are kept, and those that are missing are made
    by rule. With `folds`, every fold is the test split of one protocol, the next fold
    validates, and all others train, as in ESC-50.

    Args:
        ids: Name of each clip. A clip without a group is a group of its own.
        labels: Class indices of each clip, which may be none.
        classes: Names of the classes.
        where: Place of the data set, for messages.
        given: Split of each clip, "train", "validation" or "test", or empty; no splits
            are given by default.
        groups: Group of each clip, or empty; no groups are known by default.
        folds: "groups" for one fold per group (leave one group out), or the number of
            folds that groups, or clips without groups, are spread over. Empty for no
            folds.

    Raises:
        InputError: A split or a fold would be empty, only some clips have a split, two
            given splits share a group, or clips with given splits are to be folded.
    """
    given = given or [""] * len(ids)
    groups = [normal_name(group) for group in groups] or [""] * len(ids)
    if folds != "":
        return _into_folds(ids, labels, classes, where, given, groups, folds)
    names = {split for split in given if split}
    if names and not all(given):
        raise InputError(f"{where}: some clips have a split and others none")
    rows = {s: [i for i, split in enumerate(given) if split == s] for s in SPLITS}
    _check_groups(groups, given, where)
    pool = rows["train"] if names else list(range(len(ids)))
    if wanted := [split for split in SPLITS[1:] if split not in names]:
        for split in ("train", *wanted):
            rows[split] = []
        made = split_by_rule(
            [groups[i] or ids[i] for i in pool], [labels[i] for i in pool], wanted
        )
        for i, split in zip(pool, made, strict=True):
            rows[split].append(i)
    if empty := [split for split, clips in rows.items() if not clips]:
        sites = sorted({groups[i] for i in pool} if wanted else ())
        message = (
            _too_few_groups(sites, empty, may_fold=not names)
            if sites and all(sites)
            else f"{len(ids)} clips leave none for {' and '.join(empty)}; add clips or "
            "groups, give every clip its split, or make folds with "
            "dataset_options.folds"
        )
        raise InputError(f"{where}: {message}")
    unit = "group" if any(groups) else "file"
    how = f"{' and '.join(wanted)} made by rule, by {unit}"
    protocol = Protocol(
        name=how if wanted else "given splits", **{s: (s,) for s in SPLITS}
    )
    notes = [
        f"{_have(lacking)} no {kind} clip"
        for split, kind in (("train", "training"), ("test", "test"))
        if (lacking := _without(rows[split], labels, classes))
    ]
    return Division(rows=rows, protocols=(protocol,), notes=tuple(notes))


def _too_few_groups(
    groups: Sequence[str], empty: Sequence[str], *, may_fold: bool
) -> str:
    """Says that groups are too few for splits; `may_fold` without given splits."""
    named = listed([one_line(group, 60) for group in groups])
    few = f"{len(groups)} {'groups leave' if len(groups) > 1 else 'group leaves'} none"
    remedies = "add groups or give every clip its split"
    if may_fold:
        remedies = (
            "add groups, give every clip its split, or test one group after the other "
            "with dataset_options.folds=groups"
        )
        if len(groups) < LEAST_FOLDS:
            remedies += f", which needs {LEAST_FOLDS} groups or more"
    return (
        f"{few} for {' and '.join(empty)}, because the clips of a group stay together "
        f"({named}); {remedies}"
    )


def _into_folds(
    ids: Sequence[str],
    labels: Sequence[Sequence[int]],
    classes: Sequence[str],
    where: str,
    given: Sequence[str],
    groups: Sequence[str],
    folds: str | int,
) -> Division:
    if any(given):
        raise InputError(
            f"{where}: its clips have given splits; folds={folds} needs clips without"
        )
    units = [group or name for group, name in zip(groups, ids, strict=True)]
    sites = sorted(set(units))
    if folds == "groups":
        if lacking := [i for i, g in zip(ids, groups, strict=True) if not g]:
            raise InputError(
                f"{where}: folds=groups needs the group of every clip; {len(lacking)} "
                f"of {len(ids)} have none, the first is {one_line(lacking[0])}"
            )
        count = len(sites)
    else:
        count = _number(folds, where)
    what = f"{len(sites)} {'groups' if any(groups) else 'clips'}"
    if len(sites) < LEAST_FOLDS:
        raise InputError(
            f"{where}: {what} are too few for folds; one trains, one validates and one "
            "tests"
        )
    most = min(MOST_FOLDS, len(sites))
    if not LEAST_FOLDS <= count <= most:
        raise InputError(
            f"{where}: {count} folds of {what}; dataset_options.folds may be "
            f"{LEAST_FOLDS} to {most}"
        )
    if folds == "groups":
        fold_of = {site: f"fold{k}" for k, site in enumerate(sites, 1)}
        of_clips = [fold_of[unit] for unit in units]
        titles = [f" ({one_line(site, 60)})" for site in sites]
    else:
        of_clips = folds_by_rule(units, labels, len(classes), count)
        titles = [""] * count
    rows = {f"fold{k}": list[int]() for k in range(1, count + 1)}
    for i, fold in enumerate(of_clips):
        rows[fold].append(i)
    names = list(rows)
    protocols = [
        Protocol(
            name=f"test fold {k + 1} of {count}{titles[k]}",
            train=tuple(f for f in names if f not in (test, validation)),
            validation=(validation,),
            test=(test,),
        )
        for k, (test, validation) in enumerate(
            zip(names, names[1:] + names[:1], strict=True)
        )
    ]
    notes = _notes_on_folds(rows, protocols, labels, classes)
    return Division(rows=rows, protocols=tuple(protocols), notes=notes)


def _notes_on_folds(
    rows: Mapping[str, Sequence[int]],
    protocols: Iterable[Protocol],
    labels: Sequence[Sequence[int]],
    classes: Sequence[str],
) -> tuple[str, ...]:
    """Names the classes that some fold tests without training on them."""
    untrained: set[str] = set()
    for protocol in protocols:
        train = [i for fold in protocol.train for i in rows[fold]]
        missing = set(_without(train, labels, classes))
        untrained |= missing - set(_without(rows[protocol.test[0]], labels, classes))
    if not untrained:
        return ()
    named = [name for name in classes if name in untrained]
    return (f"{_have(named)} no training clip for a fold that tests on some",)


def _number(folds: str | int, where: str) -> int:
    try:
        return int(folds)
    except ValueError:
        raise InputError(
            f"{where}: folds={folds!r} is neither 'groups' nor a number of folds"
        ) from None


def _check_groups(groups: Sequence[str], given: Sequence[str], where: str) -> None:
    """Refuses given splits that share a group, because its clips would leak."""
    seen: dict[str, str] = {}
    for group, split in zip(groups, given, strict=True):
        if group and seen.setdefault(group, split) != split:
            raise InputError(
                f"{where}: group {group!r} is in {seen[group]} and in {split}; clips "
                "of a group must share a split"
            )


def _without(
    rows: Iterable[int], labels: Sequence[Sequence[int]], classes: Sequence[str]
) -> list[str]:
    """Returns the classes that none of some clips have."""
    there = {c for i in rows for c in labels[i]}
    return [name for c, name in enumerate(classes) if c not in there]


def _have(names: Sequence[str]) -> str:
    """Returns "class frog has" or "classes frog, toad and 3 more have"."""
    return (
        f"class {names[0]} has" if len(names) == 1 else f"classes {listed(names)} have"
    )
