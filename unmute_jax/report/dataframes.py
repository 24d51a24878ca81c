"""Puts records and comparisons into tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unmute_jax.errors import InputError
from unmute_jax.report.comparisons import Comparison
from unmute_jax.results.record import Record

if TYPE_CHECKING:
    import pandas as pd

# Fields of a record that are columns; further scores (`more`) have one each, too.
_OF_RECORDS = (
    *("dataset", "encoder", "probe", "probe_options", "protocol", "seed", "metric"),
    *("test", "validation", "learning_rate", "weight_decay", "chosen", "epoch"),
    *("steps", "parameters", "seconds", "never_started", "masked_classes", "source"),
    *("experiment", "notes", "path"),
)


def to_dataframe(items: Sequence[Record] | Sequence[Comparison]) -> pd.DataFrame:
    """Makes a table of pandas with one row per record or comparison.

        frame = uj.to_dataframe(uj.train("quickstart"))
        frame.groupby("probe")["test"].agg(["mean", "std"])

    Args:
        items: Records, whose scores are shares from 0 to 1; or comparisons, whose
            difference and 95 % interval (low_95, high_95) are in points of 100.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise InputError(
            "tables of pandas need pandas: pip install unmute-jax[pandas]"
        ) from None
    records = [item for item in items if isinstance(item, Record)]
    if records:
        others = tuple(dict.fromkeys(name for r in records for name in r.more))
        return pd.DataFrame(
            [_row_of_record(r, others) for r in records],
            columns=[*_OF_RECORDS, *others],
        )
    return pd.DataFrame(
        [_row_of_comparison(c) for c in items if isinstance(c, Comparison)]
    )


def _row_of_record(record: Record, others: Iterable[str]) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in _OF_RECORDS}
    return fields | {name: record.more.get(name) for name in others}


def _row_of_comparison(c: Comparison) -> dict[str, Any]:
    low, high = c.interval
    return {
        "compared": c.kind,
        "datasets": c.datasets,
        "shared": c.shared,
        "first": c.first,
        "second": c.second,
        "difference": c.estimate.value,
        "low_95": low,
        "high_95": high,
        "interval_over": c.over,
        "few_groups": c.has_few_groups,
        "equal_predictions": c.is_equal,
        "better": c.better,
    }
