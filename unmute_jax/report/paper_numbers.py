"""The paper's numbers: those of its tables 2, 3 and 7, and what it holds them against.

`paper_results.csv` has one line per number, with its table and where it was read. The
paper's full text was not at hand: all of them (mark D) come from summaries of it by
others (`source`), unchecked. Numbers that such a summary calls an estimate, that are
rounded duplicates, or whose encoder or probe is not told, are left out. Table "FT"
holds fine-tuned scores that the paper quotes from the encoders' own papers.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass

# The tables of probes, in the order in which they are asked.
TABLES = ("T2", "T3", "T7")
FINE_TUNING = "FT"


@dataclass(frozen=True, kw_only=True)
class PaperNumber:
    """A score in the paper.

    Attributes:
        table: "T2", "T3", "T7" or "FT".
        dataset: As in our registry.
        metric: "mAP" or "accuracy".
        encoder: As the paper spells it.
        probe: As in our registry; "fine-tuning" in table FT.
        prototypes_per_class: J of probes with prototypes.
        value: In points of 100.
        mark: How sure it is: D, a summary by others says so.
        source: Which summary.
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
    """All of them, in the order of the file."""
    file = importlib.resources.files("unmute_jax.report") / "paper_results.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(map(_number, csv.DictReader(lines)))


def of_probe(
    dataset: str, metric: str, encoder: str, probe: str, prototypes: int | None
) -> PaperNumber | None:
    """The paper's score of a probe, if it is known."""
    return _index().get((dataset, metric, encoder, probe, prototypes))


def fine_tuned(dataset: str, metric: str, encoder: str) -> PaperNumber | None:
    """The quoted score of the fine-tuned encoder, if it is known."""
    return _index().get((dataset, metric, encoder, "fine-tuning", None))


def usual_prototypes(dataset: str) -> int:
    """J in the paper: 20 per class, 10 for AudioSet-20K."""
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
    """The first table that has a number gives it."""
    ordered = sorted(
        paper_numbers(), key=lambda n: [*TABLES, FINE_TUNING].index(n.table)
    )
    found: dict[tuple[str, str, str, str, int | None], PaperNumber] = {}
    for n in ordered:
        key = (n.dataset, n.metric, n.encoder, n.probe, n.prototypes_per_class)
        found.setdefault(key, n)
    return found
