"""Finds the records of any number of runs and arranges them in a grid."""

from __future__ import annotations

import collections
import math
import os
import pathlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from unmute_jax.config import what_counts
from unmute_jax.errors import InputError
from unmute_jax.report import names
from unmute_jax.report.missing import Missing, find_missing
from unmute_jax.report.result_grid import RecordFile, ResultCell, ResultGrid
from unmute_jax.results.record import KEY, Record, read_record
from unmute_jax.results.typed_json import DamagedFile

# Settings that say what is trained, on what, and where; they do not make two
# trainings different.
_NOT_TRAINING = (
    *("dataset", "data_dir", "encoder", "weights", "probes", "probe_options"),
    *("devices", "seeds", "seed", "dataset_options.test_fold", "tokens.batch_size"),
)

# A longer description of a training is replaced by a short name in tables.
LONG_TRAINING = 30


# Records, or folders with the records of runs.
Runs = Record | str | os.PathLike[str] | Iterable[Record | str | os.PathLike[str]]


def read_records(*folders: str | os.PathLike[str]) -> list[Record]:
    """Reads the records of all runs below some folders.

    Args:
        *folders: Folders of runs, or folders that contain them at any depth.

    Returns:
        The records. One that is found several times is returned once.

    Raises:
        InputError: There are no records, a folder or a record cannot be read, or two
            files hold the same training with different scores.
    """
    return [file.record for file in find_records(_as_paths(folders))]


def grid_of(runs: Runs) -> ResultGrid:
    """Arranges records, and the records below folders, in a grid.

    Args:
        runs: Records, folders of runs, or folders that contain them at any depth. Cells
            that failed or are unfinished are known of folders only.

    Raises:
        InputError: There are no records, they cannot be read or combined, or one of
            them has no file.
    """
    if isinstance(runs, Record | str | os.PathLike):
        runs = [runs]
    records, places = list[Record](), list[str | os.PathLike[str]]()
    for item in runs:
        if isinstance(item, Record):
            records.append(item)
        else:
            places.append(item)
    folders = _as_paths(places)
    files = [*map(_file_of, records), *(find_records(folders) if folders else [])]
    if not files:
        raise InputError("there are no records: give at least one")
    return make_grid(_distinct(files), find_missing(folders))


def find_records(folders: Sequence[pathlib.Path]) -> list[RecordFile]:
    """Reads every `results/*.json` below some folders.

    A trial that is found several times counts once.

    Raises:
        InputError: There are no records, a folder or a record cannot be read, or a
            trial has two different scores.
    """
    files = list[RecordFile]()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the folder of a run")
        files += (RecordFile(_read(path), path) for path in _record_files(folder))
    if not files:
        raise InputError(_no_records(folders))
    return _distinct(files)


def make_grid(
    files: Sequence[RecordFile], missing: Sequence[Missing] = ()
) -> ResultGrid:
    """Arranges records in a grid.

    Args:
        files: The records.
        missing: The cells without records, as `missing.find_missing` finds them.

    Raises:
        InputError: A data set has records of two metrics.
    """
    _check_metrics(files)
    datasets = _titles(files, lambda r: r.dataset, lambda r: r.source)
    encoders = _titles(files, names.encoder_title, names.encoder_detail)
    trainings = _training_differences(files)
    short_names = _short_names(trainings)
    # Runs that differ in settings without influence on a trial (more seeds, other
    # probes) contain the same trials.
    groups: dict[tuple[str, str, str, str], dict[Hashable, RecordFile]] = {}
    conflicts = 0
    for file, dataset, encoder, training in zip(
        files, datasets, encoders, trainings, strict=True
    ):
        suffix = short_names.get(training, training)
        probe = names.probe_title(file.record) + (f" [{suffix}]" if suffix else "")
        group = groups.setdefault((dataset, encoder, probe, training), {})
        first = group.setdefault((file.record.seed, file.record.protocol), file)
        conflicts += _scores_differ(first, file)
    cells = [ResultCell(*key, _complete([*g.values()])) for key, g in groups.items()]
    cells.sort(
        key=lambda c: (
            names.position(c.dataset, names.DATASETS),
            names.position(c.probe, names.PROBES),
            names.position(c.encoder, names.ENCODERS),
        )
    )

    def ordered(values: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(values), key=lambda v: names.position(v, order)))

    return ResultGrid(
        cells=tuple(cells),
        datasets=ordered(datasets, names.DATASETS),
        encoders=ordered(encoders, names.ENCODERS),
        probes=ordered((c.probe for c in cells), names.PROBES),
        trainings={name: training for training, name in short_names.items()},
        conflicts=conflicts,
        # What failed in one run may have been done in another.
        missing=tuple(
            m
            for m in missing
            if m.is_partial
            or all(m.key != (c.dataset, c.encoder, c.probe) for c in cells)
        ),
    )


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Converts nested settings to a flat dictionary with keys like `optimizer.b1`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _as_paths(folders: Iterable[str | os.PathLike[str]]) -> list[pathlib.Path]:
    return [pathlib.Path(folder).expanduser() for folder in folders]


def _file_of(record: Record) -> RecordFile:
    if record.path is None:
        raise InputError(
            f"the record of {record.probe} on {record.dataset}, seed {record.seed}, "
            "has no file, beside which its predictions would be: give records that "
            "train or read_records has returned"
        )
    return RecordFile(record, record.path)


def _distinct(files: Iterable[RecordFile]) -> list[RecordFile]:
    """The files without those that hold the trial of an earlier one again."""
    distinct: dict[Hashable, RecordFile] = {}
    for new in files:
        key = tuple(getattr(new.record, k) for k in KEY)
        old = distinct.setdefault(key, new)
        if _scores_differ(old, new):
            raise InputError(
                f"{old.path} and {new.path} hold the same trial, with test scores "
                f"{old.record.test:.4f} and {new.record.test:.4f}; leave one out"
            )
    return list(distinct.values())


def _record_files(folder: pathlib.Path) -> list[pathlib.Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}")

    return sorted(
        pathlib.Path(place, name)
        for place, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if pathlib.Path(place).name == "results" and name.endswith(".json")
    )


def _read(path: pathlib.Path) -> Record:
    try:
        return read_record(path)
    except DamagedFile as error:
        raise InputError(
            f"{error}; the command that started the run makes it again, or leave the "
            "run out"
        ) from None


def _no_records(folders: Sequence[pathlib.Path]) -> str:
    """Says why there are no records: runs are not finished, or there is none."""
    where = ", ".join(map(str, folders))
    if unfinished := find_missing(folders):
        probes = ", ".join(dict.fromkeys(m.probe for m in unfinished))
        return (
            f"no records (results/*.json) below {where}: the runs there have not "
            f"finished a probe yet ({probes})"
        )
    return (
        f"no records (results/*.json) below {where}; give folders of runs, as "
        "`train --workdir` writes them"
    )


def _scores_differ(a: RecordFile, b: RecordFile) -> bool:
    """Whether two records have different test scores; two NaNs are equal."""
    x, y = a.record.test, b.record.test
    return x != y and not (math.isnan(x) and math.isnan(y))


def _check_metrics(files: Sequence[RecordFile]) -> None:
    seen: dict[str, RecordFile] = {}
    for file in files:
        first = seen.setdefault(file.record.dataset, file)
        if first.record.metric != file.record.metric:
            raise InputError(
                f"{file.record.dataset} is scored by {first.record.metric} in "
                f"{first.path} and by {file.record.metric} in {file.path}; write a "
                "report of each"
            )


def _titles(
    files: Sequence[RecordFile],
    title: Callable[[Record], str],
    detail: Callable[[Record], str],
) -> list[str]:
    """A title per record, with a detail if several things share the title."""
    details: dict[str, set[str]] = {}
    for file in files:
        details.setdefault(title(file.record), set()).add(detail(file.record))
    return [
        t
        if len(details[t := title(file.record)]) == 1
        else f"{t} ({detail(file.record)})"
        for file in files
    ]


def _training_differences(files: Sequence[RecordFile]) -> list[str]:
    """For each record, how its training differs from the most common one.

    Only settings count for which some probe was trained with two values on the same
    tokens; otherwise these two trainings would fall into one cell. A setting that is
    absent from a record, because an older version wrote it, is no difference, unless it
    is known what that version did.
    """
    settings = [_training_settings(file.record) for file in files]
    groups: dict[Hashable, list[dict[str, str]]] = {}
    for file, own in zip(files, settings, strict=True):
        r = file.record
        key = (r.dataset, r.source, r.encoder, names.probe_title(r))
        groups.setdefault(key, []).append(own)
    values: dict[tuple[int, str], set[str]] = {}
    for number, group in enumerate(groups.values()):
        for key, value in (pair for own in group for pair in own.items()):
            values.setdefault((number, key), set()).add(value)
    differing = dict.fromkeys(k for (_, k), seen in values.items() if len(seen) > 1)
    chosen = [tuple((k, s[k]) for k in differing if k in s) for s in settings]
    common = dict(collections.Counter(chosen).most_common(1)[0][0])
    return [
        ", ".join(f"{k}={v}" for k, v in own if v != common.get(k, v)) for own in chosen
    ]


def _short_names(trainings: Sequence[str]) -> dict[str, str]:
    """Short names for the trainings with long descriptions."""
    long = [t for t in dict.fromkeys(trainings) if len(t) > LONG_TRAINING]
    return {t: f"training {chr(ord('B') + k)}" for k, t in enumerate(long)}


def _training_settings(record: Record) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in flatten(what_counts(record.settings)).items()
        if key not in _NOT_TRAINING and key.split(".")[0] not in _NOT_TRAINING
    }


def _complete(files: list[RecordFile]) -> tuple[RecordFile, ...]:
    """The seeds with the most folds; a run in progress has incomplete ones, too.

    All of these seeds have the same folds. Where as many have others, those of the
    lowest seed are taken.
    """
    folds: dict[int, frozenset[str]] = {}
    for file in sorted(files, key=lambda f: f.record.seed):
        seen = folds.get(file.record.seed, frozenset())
        folds[file.record.seed] = seen | {file.record.protocol}
    counts = collections.Counter(folds.values())
    best = max(counts, key=lambda names: (len(names), counts[names]))
    complete = [file for file in files if folds[file.record.seed] == best]
    return tuple(sorted(complete, key=lambda f: (f.record.seed, f.record.protocol)))
