"""The scores of the paper: its tables 2, 3 and 7, and the fine-tuned scores it quotes.

`paper_results.csv` has one line per number, with the table and the place where it was
read. The full text of the paper was not available: all numbers (mark D) come from
summaries by others (`source`) and were not checked against the paper. Numbers that a
summary calls an estimate, rounded duplicates, and numbers without a named encoder or
probe are left out. The table "FT" holds fine-tuned scores that the paper quotes from
the encoders' own papers.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass

# The tables with scores of probes. If several have a number, the first one counts.
TABLES = ("T2", "T3", "T7")
FINE_TUNING = "FT"


@dataclass(frozen=True, kw_only=True)
class PaperNumber:
    """A score in the paper.

    Attributes:
        table: The table: "T2", "T3", "T7" or "FT".
        dataset: The data set's name in our registry.
        metric: "mAP" or "accuracy".
        encoder: The encoder's name in the paper.
        probe: The probe's name in our registry; "fine-tuning" in table FT.
        prototypes_per_class: The number of prototypes per class; None for probes
            without prototypes.
        value: The score in points of 100.
        mark: The reliability of the number. D: it was read in a summary by others.
        source: The summary.
    """

    table: str
    dataset: str
    metric: str
    encoder: str
    probe: str
    prototypes_per_class: int | None
    value: float
    mark: str
    source: str


@functools.cache
def paper_numbers() -> tuple[PaperNumber, ...]:
    """Reads all numbers, in the order of the file."""
    file = importlib.resources.files("unmute_jax.report") / "paper_results.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(map(_number, csv.DictReader(lines)))


def of_probe(
    dataset: str, metric: str, encoder: str, probe: str, prototypes: int | None
) -> PaperNumber | None:
    """The paper's score of a probe, or None if it is unknown."""
    return _index().get((dataset, metric, encoder, probe, prototypes))


def fine_tuned(dataset: str, metric: str, encoder: str) -> PaperNumber | None:
    """The quoted score of a fine-tuned encoder, or None if it is unknown."""
    return _index().get((dataset, metric, encoder, "fine-tuning", None))


def paper_prototypes(dataset: str) -> int:
    """The paper's number of prototypes per class: 20, but 10 for AudioSet-20K."""
    return 10 if dataset.split("/")[0] == "as20k" else 20


def _number(line: dict[str, str]) -> PaperNumber:
    prototypes = line["prototypes_per_class"]
    return PaperNumber(
        table=line["table"],
        dataset=line["dataset"],
        metric=line["metric"],
        encoder=line["encoder"],
        probe=line["probe"],
        prototypes_per_class=int(prototypes) if prototypes else None,
        value=float(line["value"]),
        mark=line["mark"],
        source=line["source"],
    )


@functools.cache
def _index() -> dict[tuple[str, str, str, str, int | None], PaperNumber]:
    ordered = sorted(
        paper_numbers(), key=lambda n: [*TABLES, FINE_TUNING].index(n.table)
    )
    index: dict[tuple[str, str, str, str, int | None], PaperNumber] = {}
    for n in ordered:
        key = (n.dataset, n.metric, n.encoder, n.probe, n.prototypes_per_class)
        index.setdefault(key, n)
    return index
