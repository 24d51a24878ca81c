"""Tables of records: one row per probe, and the notes below them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from unmute_jax.errors import one_line
from unmute_jax.results.ranges import in_words
from unmute_jax.results.record import Record, training_seconds


@dataclass(frozen=True)
class Row:
    """One probe in the table, its seeds and folds taken together.

    Attributes:
        probe: Name of the probe.
        options: Options of the probe that differ from its defaults.
        validation: Mean validation score.
        test: Mean test score.
        test_sd: Standard deviation over seeds of the mean over folds; NaN for one seed.
        seeds: Number of seeds.
        rates: The learning rates that were chosen.
        seconds: Time spent on all trainings.
        parameters: Number of trainable parameters.
        notes: Remarks for a reader of the row.
        more: Means of other test scores, by name.
        never_started: The number of trainings that never left their start.
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
    never_started: int


def rows(records: Iterable[Record], order: Sequence[str]) -> list[Row]:
    """One row per probe, in `order`; probes without a record are left out."""
    by_probe: dict[str, list[Record]] = {}
    for record in records:
        by_probe.setdefault(record.probe, []).append(record)
    return [_row(name, by_probe[name]) for name in order if name in by_probe]


def scores_by_seed(records: Sequence[Record]) -> dict[int, float]:
    """The test score of each seed of one probe, as the mean over protocols."""
    seeds = sorted({r.seed for r in records})
    return {s: float(np.mean([r.test for r in records if r.seed == s])) for s in seeds}


def _row(probe: str, records: list[Record]) -> Row:
    per_seed = list(scores_by_seed(records).values())
    return Row(
        probe=probe,
        options=records[0].probe_options,
        validation=float(np.mean([r.validation for r in records])),
        test=float(np.mean(per_seed)),
        test_sd=float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else math.nan,
        seeds=len(per_seed),
        rates=tuple(sorted({r.learning_rate for r in records if r.learning_rate})),
        seconds=training_seconds(records),
        parameters=records[0].parameters,
        notes=notes_of(records),
        more={
            name: float(np.mean([r.more[name] for r in records]))
            for name in records[0].more
        },
        never_started=sum(r.never_started for r in records),
    )


# A note names every seed whose validation score is below the best seed's by more than
# this share of it, and by more than chance explains with so few clips.
FAR_BELOW = 1 / 4


def notes_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The notes of all records of one probe, and one on unstable seeds."""
    written = dict.fromkeys(note for r in records for note in r.notes)
    return (*written, *_unstable(records))


def _unstable(records: Sequence[Record]) -> Iterator[str]:
    """A line for each protocol with seeds that diverged or ended far below the best.

    The learning rate was good for the seed that it was chosen with, but not for these.
    """
    protocols = list(dict.fromkeys(r.protocol for r in records))
    for protocol in protocols:
        mine = [r for r in records if r.protocol == protocol]
        finite = [r.validation for r in mine if math.isfinite(r.validation)]
        best = max(finite, default=math.nan)
        least = best - max(FAR_BELOW * best, 2 * _clips(mine[0]) ** -0.5)
        bad = {
            r.seed: f"{100 * r.validation:.1f}"
            if math.isfinite(r.validation)
            else "diverged"
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
    """The number of validation clips; 1 if unknown, so that no seed is far below."""
    splits = record.facts.get("splits", {}).get("validation", ())
    return sum(record.facts["clips"][split] for split in splits) or 1


def table(records: Sequence[Record], order: Sequence[str]) -> Table:
    """The table that a run prints, with scores in points of 100."""
    metric = records[0].metric
    made = Table(
        title=Text(title(records), style="table.title"),
        title_justify="left",
        caption_justify="left",
    )
    made.add_column("probe")
    more = [f"test {name}" for name in records[0].more]
    for name in (f"validation {metric}", f"test {metric}", *more, "learning rate"):
        made.add_column(name, justify="right")
    made.add_column("time", justify="right")
    made.add_column("parameters", justify="right")
    # The ranges come first, because a score depends on where its search looked.
    notes: dict[str, None] = dict.fromkeys(filter(None, [in_words(records)]))
    for row in rows(records, order):
        spread = "" if math.isnan(row.test_sd) else f" ± {100 * row.test_sd:.2f}"
        made.add_row(
            Text(" ".join([row.probe, *(f"{k}={v}" for k, v in row.options.items())])),
            f"{100 * row.validation:.2f}",
            f"{100 * row.test:.2f}{spread}{' (!)' if row.never_started else ''}",
            *(f"{100 * value:.2f}" for value in row.more.values()),
            ", ".join(f"{r:g}" for r in row.rates) or "none",
            f"{row.seconds:.1f} s",
            f"{row.parameters:,}",
        )
        notes.update(dict.fromkeys(row.notes))
        if row.never_started:
            notes["(!) trainings that never left their start"] = None
    if notes:
        lines = "\n".join(one_line(note) for note in notes)
        made.caption = Text(lines, style="table.caption")
    return made


def title(records: Sequence[Record]) -> str:
    """What all scores of a table have in common, in one line."""
    first = records[0]
    protocols = sorted({r.protocol for r in records})
    if len(protocols) > 2:
        protocols = [f"{protocols[0]} to {protocols[-1]}"]
    seeds = max(
        row.seeds
        for row in rows(records, list(dict.fromkeys(r.probe for r in records)))
    )
    settings = first.settings
    # Clip length and front-end constants, for encoders that have a choice of them.
    given = first.facts.get("encoder", {}).get("input", {})
    parts = [
        f"{first.dataset} ({first.source})",
        ", ".join([first.encoder, *(f"{k} {v}" for k, v in given.items())]),
        ", ".join(protocols),
        f"{seeds} seed{'s' * (seeds > 1)}",
        f"{settings['epochs']} epochs of batch {settings['batch_size']}"
        + (f", at least {settings['steps']} steps" if settings.get("steps") else ""),
        f"{settings['loss']['name']} loss",
        f"{settings['report_epoch']} epoch",
    ]
    if settings.get("labels") == "frames":
        parts.append(f"labels of time steps ({settings['frames']['rule']})")
    if settings["refit"]:
        parts.append("refit on train + validation")
    if settings.get("standardise"):
        parts.append("standardised inputs")
    return " · ".join(one_line(part, 300) for part in parts)
