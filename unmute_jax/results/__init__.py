"""Results of a run: records, predictions, trained probes, tables and plots."""

from unmute_jax.results.record import (
    KEY,
    Record,
    SearchTrial,
    read_record,
    read_search_trial,
    record_name,
    write_record,
    write_search_trial,
)
from unmute_jax.results.tables import notes_of, rows, scores_by_seed, table, title

__all__ = [
    "KEY",
    "Record",
    "SearchTrial",
    "notes_of",
    "read_record",
    "read_search_trial",
    "record_name",
    "rows",
    "scores_by_seed",
    "table",
    "title",
    "write_record",
    "write_search_trial",
]
