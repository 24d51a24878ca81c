"""One record per finished trial; tables are views of those records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from unmute_jax.errors import InputError
from unmute_jax.files import write_atomically

# What names a trial; the file of its record is called after their hash.
KEY = ("experiment", "dataset", "encoder", "probe", "protocol", "seed")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one trial was and what it gave.

    Attributes:
        experiment: Digest of the configuration.
        dataset: Its name; `source` says which copy.
        encoder: Description of encoder and weights.
        probe: Its name; `parameters` counts its trainable numbers.
        probe_options: Those that are not its defaults.
        protocol: Which splits trained, chose and tested.
        metric: "mAP", "accuracy" or "frame mAP"; all scores are shares of 1.
        learning_rate: Chosen on the validation split, like `epoch`; None and 0 where
            nothing was trained.
        validation: The score that was compared.
        test: The score of this trial on the test split, computed once.
        per_class: Average precision per class; None without positives.
        search: Every trial that was compared: its rates and its validation score, and
            after a sweep the epochs it had and its status (see `SearchTrial`).
        seconds: Training of the whole stack that this trial was part of.
        settings: The configuration.
        facts: Whatever else the numbers depend on (data, tokens, versions, device).
        notes: What a reader of the table should know.
        more: Other scores on the test split, by name.
        thresholds: Per class, from which probability on `more` counts it as there.
    """

    experiment: str
    dataset: str
    source: str
    encoder: str
    probe: str
    probe_options: dict[str, Any]
    protocol: str
    seed: int
    metric: str
    parameters: int
    learning_rate: float | None
    weight_decay: float
    epoch: int
    validation: float
    test: float
    per_class: dict[str, float | None]
    masked_classes: int
    search: tuple[dict[str, Any], ...]
    seconds: float
    settings: dict[str, Any]
    facts: dict[str, Any]
    notes: tuple[str, ...] = field(default=())
    more: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    def file_name(self) -> str:
        """`<hash of the key>.json`."""
        return record_name(**{k: getattr(self, k) for k in KEY})


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One training of a search, which is compared on the validation split alone.

    Attributes:
        experiment: As of `Record`, like all of the key.
        number: Its place in the search.
        proposed_by: "sobol" or "tpe".
        status: "finished"; "stopped", because others were better at the same epoch;
            "diverged".
        epochs: It was trained for.
        validation: The score that was compared; None where it diverged.
        scores: (epoch, validation score) whenever it was looked at.
    """

    experiment: str
    dataset: str
    encoder: str
    probe: str
    protocol: str
    seed: int
    number: int
    proposed_by: str
    learning_rate: float
    weight_decay: float
    status: str
    epochs: int
    validation: float | None
    scores: tuple[tuple[int, float | None], ...]

    def file_name(self) -> str:
        """`<hash of the key and the number>.json`."""
        return record_name(**{k: getattr(self, k) for k in (*KEY, "number")})

    def summary(self) -> dict[str, Any]:
        """What a `Record` keeps of it."""
        names = ("learning_rate", "weight_decay", "validation", "epochs", "status")
        return {name: getattr(self, name) for name in names}


def write_search_trial(folder: str | os.PathLike[str], trial: SearchTrial) -> None:
    """Writes `trial` to its own file in `folder`, whole or not at all."""
    text = json.dumps(dataclasses.asdict(trial), indent=1)
    write_atomically(pathlib.Path(folder) / trial.file_name(), text + "\n")


def read_search_trial(path: str | os.PathLike[str]) -> SearchTrial:
    """The trial in one file."""
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        values["scores"] = tuple((int(e), s) for e, s in values["scores"])
        return SearchTrial(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a trial of a search ({error})") from error


def record_name(**key: str | int) -> str:
    """The file name of the record with this key (all of `KEY`)."""
    canonical = json.dumps(key, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16] + ".json"


def write_record(folder: str | os.PathLike[str], record: Record) -> None:
    """Writes `record` to its own file in `folder`, whole or not at all."""
    text = json.dumps(dataclasses.asdict(record), indent=1)
    write_atomically(pathlib.Path(folder) / record.file_name(), text + "\n")


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record in one file."""
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        values["search"] = tuple(values["search"])
        values["notes"] = tuple(values["notes"])
        return Record(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a result record ({error})") from error


def read_records(folder: str | os.PathLike[str]) -> list[Record]:
    """All records in `folder`, in the order of their keys."""
    found = [read_record(p) for p in sorted(pathlib.Path(folder).glob("*.json"))]
    return sorted(found, key=lambda r: tuple(str(getattr(r, k)) for k in KEY))


@dataclass(frozen=True)
class Row:
    """One probe in the table: its seeds and folds taken together.

    `test_sd` is the standard deviation over seeds of the mean over folds, `more` the
    means of other scores.
    """

    probe: str
    options: dict[str, Any]
    validation: float
    test: float
    test_sd: float
    seeds: int
    rates: tuple[float, ...]
    seconds: float
    parameters: int
    notes: tuple[str, ...]
    more: dict[str, float]


def rows(records: Iterable[Record], order: Sequence[str]) -> list[Row]:
    """One row per probe, in `order`."""
    by_probe: dict[str, list[Record]] = {}
    for record in records:
        by_probe.setdefault(record.probe, []).append(record)
    return [_row(name, by_probe[name]) for name in order if name in by_probe]


def scores_by_seed(records: Sequence[Record]) -> dict[int, float]:
    """The test score of each seed, the mean over protocols; records of one probe."""
    seeds = sorted({r.seed for r in records})
    return {s: float(np.mean([r.test for r in records if r.seed == s])) for s in seeds}


def _row(probe: str, records: list[Record]) -> Row:
    per_seed = list(scores_by_seed(records).values())
    stacks = {(r.protocol, r.seconds) for r in records}
    return Row(
        probe=probe,
        options=records[0].probe_options,
        validation=float(np.mean([r.validation for r in records])),
        test=float(np.mean(per_seed)),
        test_sd=float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else math.nan,
        seeds=len(per_seed),
        rates=tuple(sorted({r.learning_rate for r in records if r.learning_rate})),
        seconds=sum(s for _, s in stacks),
        parameters=records[0].parameters,
        notes=notes_of(records),
        more={
            name: float(np.mean([r.more[name] for r in records]))
            for name in records[0].more
        },
    )


# A seed is told whose validation score is below the best seed's by more than this share
# of it, and by more than the clips of the split can differ by chance.
FAR_BELOW = 1 / 4


def notes_of(records: Sequence[Record]) -> tuple[str, ...]:
    """What a reader of one probe's scores should know, from all its records."""
    written = dict.fromkeys(note for r in records for note in r.notes)
    return (*written, *_unstable(records))


def _unstable(records: Sequence[Record]) -> Iterator[str]:
    """A line for each protocol with seeds that diverged or ended far below the best.

    Their rate was good for the seed that it was chosen with.
    """
    protocols = list(dict.fromkeys(r.protocol for r in records))
    for protocol in protocols:
        mine = [r for r in records if r.protocol == protocol]
        finite = [r.validation for r in mine if math.isfinite(r.validation)]
        best = max(finite, default=math.nan)
        least = best - max(FAR_BELOW * best, 2 * _clips(mine[0]) ** -0.5)
        bad = {
            r.seed: f"{100 * r.validation:.1f}"
            for r in sorted(mine, key=lambda r: r.seed)
            if not r.validation >= least
        }
        rate = mine[0].learning_rate
        if bad and rate is not None:
            where = f" on {protocol}" if len(protocols) > 1 else ""
            which = ", ".join(f"seed {seed} {score}" for seed, score in bad.items())
            yield (
                f"{mine[0].probe}: unstable at learning rate {rate:g}{where}: the "
                f"best seed validates at {100 * best:.1f}, but {which}; "
                "lower rates may help, or config.optimizer.warmup=0.1"
            )


def _clips(record: Record) -> int:
    """Validation clips; one where they are not known, which tells nothing apart."""
    splits = record.facts.get("splits", {}).get("validation", ())
    return sum(record.facts["clips"][split] for split in splits) or 1


def table(records: Sequence[Record], order: Sequence[str]) -> Table:
    """The table a person reads: scores in points of 100."""
    metric = records[0].metric
    made = Table(
        title=escape(title(records)), title_justify="left", caption_justify="left"
    )
    made.add_column("probe")
    more = [f"test {name}" for name in records[0].more]
    for name in (f"validation {metric}", f"test {metric}", *more, "learning rate"):
        made.add_column(name, justify="right")
    made.add_column("time", justify="right")
    made.add_column("parameters", justify="right")
    notes: dict[str, None] = {}
    for row in rows(records, order):
        spread = "" if math.isnan(row.test_sd) else f" ± {100 * row.test_sd:.2f}"
        made.add_row(
            " ".join([row.probe, *(f"{k}={v}" for k, v in row.options.items())]),
            f"{100 * row.validation:.2f}",
            f"{100 * row.test:.2f}{spread}",
            *(f"{100 * value:.2f}" for value in row.more.values()),
            ", ".join(f"{r:g}" for r in row.rates) or "none",
            f"{row.seconds:.1f} s",
            f"{row.parameters:,}",
        )
        notes.update(dict.fromkeys(row.notes))
    made.caption = escape("\n".join(notes)) or None
    return made


def title(records: Sequence[Record]) -> str:
    """What the numbers of a table have in common."""
    first = records[0]
    protocols = sorted({r.protocol for r in records})
    if len(protocols) > 2:
        protocols = [f"{protocols[0]} to {protocols[-1]}"]
    seeds = max(
        row.seeds
        for row in rows(records, list(dict.fromkeys(r.probe for r in records)))
    )
    settings = first.settings
    # Clip length and constants of the front end, where the encoder has a choice.
    given = first.facts["encoder"].get("input", {})
    parts = [
        f"{first.dataset} ({first.source})",
        ", ".join([first.encoder, *(f"{k} {v}" for k, v in given.items())]),
        ", ".join(protocols),
        f"{seeds} seed{'s' * (seeds > 1)}",
        f"{settings['epochs']} epochs of batch {settings['batch_size']}",
        f"{settings['loss']['name']} loss",
        f"{settings['report_epoch']} epoch",
    ]
    if settings.get("labels") == "frames":
        parts.append(f"labels of time steps ({settings['frames']['rule']})")
    if settings["refit"]:
        parts.append("refit on train + validation")
    if settings["standardise"]:
        parts.append("standardised inputs")
    return " · ".join(parts)
