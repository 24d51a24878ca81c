"""The main tables: the scores of every probe beside those of the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from unmute_jax.datasets.tables import csv_text
from unmute_jax.report import drawing, missing, paper_numbers
from unmute_jax.report.names import (
    encoder_title,
    has_published_weights,
    prototypes_per_class,
    slug,
)
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.paper_numbers import PaperNumber
from unmute_jax.report.resampling import LEAST_UNITS, Resampler, basis
from unmute_jax.report.result_grid import ResultCell, ResultGrid, searched
from unmute_jax.report.tables import (
    DIVERGED,
    UNKNOWN,
    Field,
    Table,
    between,
    counted,
    number,
    signed,
)
from unmute_jax.results import looks
from unmute_jax.results.ranges import ranges_of
from unmute_jax.results.record import training_seconds

BASELINE = "stats"
# Marks of scores that mean less than they seem to.
FEW_GROUPS, NEVER_STARTED = "†", "‡"
COLUMNS = (
    *("dataset", "metric", "encoder", "probe", "test_mean", "test_sd", "seeds"),
    *("diverged_seeds", "never_started", "low_95", "high_95", "interval_over"),
    *("few_groups", "test_clips", "test_groups", "folds"),
    *("validation_mean", "prototypes_per_class", "learning_rates"),
    *("lowest_rate", "highest_rate", "steps"),
    *("weight_decay", "parameters", "seconds", "published_weights", "paper"),
    *("difference", "paper_table", "paper_mark", "paper_source"),
)


def paper_score(cell: ResultCell) -> PaperNumber | None:
    """The paper's score of a cell, or None if it is unknown.

    Only cells with the published weights of their encoder have one.
    """
    r = cell.first
    if not has_published_weights(r):
        return None
    count = prototypes_per_class(r)
    dataset = r.dataset.removesuffix("/64shot")
    return paper_numbers.of_probe(dataset, r.metric, encoder_title(r), r.probe, count)


def section(grid: ResultGrid, resampler: Resampler) -> Section:
    """Makes a table per data set, and tables of means over data sets."""
    picture = _paper_picture(grid)
    lost = missing.table(grid.missing, grid.not_run())
    return Section(
        name="scores",
        title="Scores beside those of the paper",
        paragraphs=(
            "Test scores in points of 100: the mean over seeds of the mean over folds, "
            "± the standard deviation over seeds. The best probe of each encoder is in "
            "bold. Nothing was selected on the test split. A dash means that the cell "
            "was not run; 'failed' and 'unfinished' cells are listed with the reason "
            "in the last table; 'diverged' means that a seed ended without a finite "
            "score, which counts as worse than every score.",
            "In brackets: the 95 % interval over other test recordings (or sites or "
            "speakers, whatever clips were cut from; or other clips, where that is not "
            "known) and other seeds, with the models as they were trained. It leans to "
            "lower values where classes have few positives, because average precision "
            "is then too high on average. It needs the saved predictions on the test "
            "clips, or five folds; intervals over seeds alone are in scores.csv, which "
            "names what was drawn.",
            *_marks(grid),
            f"{BASELINE} (mean, maximum and standard deviation of the tokens, followed "
            "by one linear layer) is not a method of the paper, but it is listed in "
            "every table: a probe that does not beat it is not worth training.",
            _paper_paragraph(grid),
        ),
        pictures=() if picture is None else (picture,),
        tables=(
            *(_dataset_table(grid, d, resampler) for d in grid.datasets),
            *_other_scores(grid),
            *([lost] if lost is not None else []),
        ),
    )


def _marks(grid: ResultGrid) -> list[str]:
    """Explains the marks that the tables have."""
    marks = []
    if any(basis(cell).has_few_groups for cell in grid.cells):
        marks.append(
            f"{FEW_GROUPS}: the test split has fewer than {LEAST_UNITS} groups "
            "(recordings, sites or speakers), too few to draw groups. The interval is "
            "over clips and too narrow where clips of a group resemble each other."
        )
    if any(cell.never_started for cell in grid.cells):
        marks.append(
            f"{NEVER_STARTED}: some trainings never left their start (the same output "
            "for all validation clips, or a flat loss at chance). Such a score says "
            "nothing about the encoder."
        )
    return marks


def as_csv(grid: ResultGrid, resampler: Resampler) -> str:
    """Formats all facts about the scores as CSV, with one line per cell."""
    lines = [_csv_line(cell, resampler) for cell in grid.cells]
    return csv_text([COLUMNS, *lines])


def with_baseline(probes: Sequence[str]) -> list[str]:
    """The probes, followed by the baseline if it was not run."""
    missing = not any(p.split(" ")[0] == BASELINE for p in probes)
    return [*probes, *([BASELINE] if missing else [])]


def score_field(cell: ResultCell, resampler: Resampler, is_best: bool) -> Field:
    """`64.67 ± 0.30`, in bold if it is the best one, and below it the interval."""
    under, drawn = [], basis(cell)
    if cell.has_diverged:
        text, value = DIVERGED.text, None
        under.append(f"{cell.diverged_seeds} of {counted(len(cell.seeds), 'seed')}")
    else:
        spread = f" ± {cell.sd:.2f}" if len(cell.seeds) > 1 else ""
        marks = FEW_GROUPS * drawn.has_few_groups
        marks += NEVER_STARTED * (cell.never_started > 0)
        text, value = f"{cell.mean:.2f}{spread}{marks}", cell.mean
        ends = between(*_interval(cell, resampler), 1)
        if drawn.kind and ends:
            under.append(ends)
    if cell.never_started:
        under.append(f"{cell.never_started} of {len(cell.files)} never started")
    return Field(text, value, "; ".join(under), is_best)


def _beside_paper(field: Field, cell: ResultCell) -> Field:
    """The score of a cell, and below it the paper's with the difference."""
    paper = paper_score(cell)
    if paper is None:
        return field
    difference = "" if cell.has_diverged else f", {signed(cell.mean - paper.value)}"
    text = f"paper {paper.value:.2f}{difference}"
    return dataclasses.replace(
        field, under="; ".join(filter(None, [field.under, text]))
    )


def _interval(cell: ResultCell, resampler: Resampler) -> tuple[float, float]:
    return resampler.score(cell).interval(is_score=True)


def highest(values: Sequence[float]) -> float:
    """The largest finite value; NaN, which equals nothing, if there is none."""
    return max((v for v in values if np.isfinite(v)), default=np.nan)


def _dataset_table(grid: ResultGrid, dataset: str, resampler: Resampler) -> Table:
    cells = grid.of_dataset(dataset)
    encoders = [e for e in grid.encoders if any(c.encoder == e for c in cells)]
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    best = {e: highest([c.mean for c in cells if c.encoder == e]) for e in encoders}
    rows = []
    for probe in with_baseline(probes):
        row: list[Field | str] = [probe]
        for encoder in encoders:
            cell = grid.at(dataset, encoder, probe)
            if cell is None:
                row.append(grid.no_score(dataset, encoder, probe))
                continue
            is_best = len(cells) > 1 and cell.mean == best[encoder]
            field = score_field(cell, resampler, is_best)
            row.append(_beside_paper(field, cell))
        rows.append(tuple(row))
    return Table(
        name=f"scores-{slug(dataset)}",
        title=f"{dataset}, test {grid.metric(dataset)}",
        columns=("probe", *encoders),
        rows=tuple(rows),
        note=_note(grid, dataset, cells),
    )


def _note(grid: ResultGrid, dataset: str, cells: list[ResultCell]) -> str:
    seeds, folds = [len(c.seeds) for c in cells], [len(c.folds) for c in cells]
    parts = [f"{span(seeds)} seed{'s' * (max(seeds) > 1)}"]
    if max(folds) > 1:
        parts.append(f"{span(folds)} folds")
    not_in_paper = [
        e
        for e in grid.encoders
        if any(c.encoder == e for c in cells)
        and not any(paper_score(c) for c in cells if c.encoder == e)
    ]
    if not_in_paper:
        parts.append(f"no such row in the paper: {', '.join(not_in_paper)}")
    if not any(c.first.probe == BASELINE for c in cells):
        parts.append(f"{BASELINE} was not run")
    found = [basis(c) for c in cells if basis(c).kind]
    if found:
        kinds = " or ".join(sorted({b.kind for b in found}))
        seeds = " and seeds" * any(b.has_seeds for b in found)
        parts.append(f"intervals over {kinds}{seeds}")
    return f"{'; '.join(parts)}. {searched(cells)}".strip()


def over_datasets(chosen: Sequence[str], everything: Sequence[str]) -> str:
    """Says over which data sets the means of a table are taken."""
    text = f"Means over {', '.join(chosen)}"
    if others := [d for d in everything if d not in chosen]:
        text += f", which most cells have; {', '.join(others)} left out"
    return f"{text}."


def _other_scores(grid: ResultGrid) -> list[Table]:
    """Scores in the records beside the main one, such as those of events."""
    cells = [c for c in grid.cells if c.first.more]
    if not cells:
        return []
    kinds = list(dict.fromkeys(k for c in cells for k in c.first.more))

    def field(cell: ResultCell, kind: str) -> Field:
        values = [f.record.more.get(kind, np.nan) for f in cell.files]
        return number(100 * float(np.mean(values)))

    return [
        Table(
            name="other-scores",
            title="Other test scores",
            columns=("data set", "encoder", "probe", *kinds),
            rows=tuple(
                (c.dataset, c.encoder, c.probe, *(field(c, k) for k in kinds))
                for c in cells
            ),
            note="Means over seeds and folds. Nothing was selected by these scores. "
            f"{UNKNOWN.text}: a training diverged, or the score was not computed.",
        )
    ]


def _in_paper(grid: ResultGrid) -> list[tuple[ResultCell, PaperNumber]]:
    """The cells that have a score both here and in the paper."""
    pairs = [(c, paper_score(c)) for c in grid.cells if not c.has_diverged]
    return [(c, paper) for c, paper in pairs if paper is not None]


def _paper_paragraph(grid: ResultGrid) -> str:
    both = _in_paper(grid)
    source = (
        "The paper's scores are those of its tables 2, 3 and 7 as far as they are "
        "known. They are second-hand (mark D): they were read in summaries of the "
        "paper, which scores.csv names, and were not checked against its text. They "
        "are shown only for encoders with the published weights, and for the paper's "
        "number of prototypes."
    )
    if not both:
        return f"{source} No record here has a score in the paper."
    off = np.asarray([c.mean - n.value for c, n in both])
    return (
        f"{source} {counted(len(both), 'cell')} can be compared. Our score minus the "
        f"paper's is {signed(float(off.mean()))} on average (from "
        f"{signed(float(off.min()))} to {signed(float(off.max()))}); the mean absolute "
        f"difference is {np.abs(off).mean():.2f}."
    )


def _paper_picture(grid: ResultGrid) -> Picture | None:
    both = _in_paper(grid)
    if not both:
        return None
    figure, (axis, *_) = drawing.panels(["test score of each cell"])
    figure.set_size_inches(6, 4.6)
    probes = list(dict.fromkeys(c.first.probe for c, _ in both))
    handles = []
    for probe in probes:
        x = [n.value for c, n in both if c.first.probe == probe]
        y = [c.mean for c, _ in both if c.first.probe == probe]
        look = looks.probe_look(probe) | {"linestyle": "none"}
        handles += axis.plot(x, y, ms=5, alpha=0.8, **look)
    values = [v for c, n in both for v in (c.mean, n.value)]
    ends = [min(values) - 3, max(values) + 3]
    axis.plot(ends, ends, color="0.4", lw=1, zorder=0)
    axis.set(xlabel="score in the paper", ylabel="score here", xlim=ends, ylim=ends)
    looks.legend(figure, handles, probes)
    alt = (
        "Scores here against the scores in the paper, with one point per cell and a "
        "line where both agree"
    )
    return drawing.picture("against_the_paper", alt, figure)


def _csv_line(cell: ResultCell, resampler: Resampler) -> tuple[object, ...]:
    r, paper, drawn = cell.first, paper_score(cell), basis(cell)
    ends = _interval(cell, resampler) if drawn.text else (np.nan, np.nan)
    low, high = ranges_of(r).get("learning_rate", (None, None))
    clips, groups = _test_counts(cell)
    rates = sorted({x for f in cell.files if (x := f.record.learning_rate)})
    seconds = training_seconds(f.record for f in cell.files)
    validation = 100 * float(np.mean([f.record.validation for f in cell.files]))
    paper_columns = (
        (
            *(paper.value, _rounded(cell.mean - paper.value)),
            *(paper.table, paper.mark, paper.source),
        )
        if paper
        else (None,) * 5
    )
    return (
        *(cell.dataset, r.metric, cell.encoder, cell.probe, _rounded(cell.mean)),
        *(_rounded(cell.sd), len(cell.seeds), cell.diverged_seeds),
        *(cell.never_started, *(_rounded(end, 1) for end in ends), drawn.text),
        *("yes" if drawn.has_few_groups else "no", clips, groups),
        *(len(cell.folds), _rounded(validation)),
        *(cell.prototypes, " ".join(f"{x:g}" for x in rates)),
        *(low, high, r.steps or None, r.weight_decay),
        *(r.parameters, round(seconds, 2)),
        *("yes" if has_published_weights(r) else "no", *paper_columns),
    )


def _test_counts(cell: ResultCell) -> tuple[int | None, int | None]:
    """The test clips and their groups, over all folds; None if they are not known."""
    if any(file.predictions is None for file in cell.files):
        return None, None
    first = [f.test_counts for f in cell.files if f.record.seed == cell.seeds[0]]
    return sum(clips for clips, _ in first), sum(groups for _, groups in first)


def _rounded(value: float, digits: int = 2) -> float | None:
    """A number as the page rounds it; `records.csv` has the unrounded scores."""
    return round(value, digits) if np.isfinite(value) else None


def span(values: Iterable[int]) -> str:
    """The only value, or the lowest and the highest one."""
    low, high = min(values := [*values]), max(values)
    return str(low) if low == high else f"{low} to {high}"
