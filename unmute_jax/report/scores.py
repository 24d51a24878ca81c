"""The main table: the scores of every probe, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmute_jax.report import drawing, paper_numbers
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.names import (
    encoder_title,
    has_published_weights,
    prototypes_per_class,
    slug,
)
from unmute_jax.report.paper_numbers import PaperNumber
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import interval
from unmute_jax.report.tables import Field, Table, between, csv_text, number, signed

BASELINE = "stats"
COLUMNS = (
    *("dataset", "metric", "encoder", "probe", "test_mean", "test_sd", "seeds"),
    *(
        "low_95",
        "high_95",
        "interval_over",
        "folds",
        "validation_mean",
        "prototypes_per_class",
        "learning_rates",
    ),
    *("weight_decay", "parameters", "seconds", "published_weights", "paper"),
    *("difference", "paper_table", "paper_mark", "paper_source"),
)


def paper_of(cell: Cell) -> PaperNumber | None:
    """The paper's number of the same cell; only of the published weights."""
    r = cell.first
    if not has_published_weights(r):
        return None
    count = prototypes_per_class(r)
    dataset = r.dataset.removesuffix("/64shot")
    return paper_numbers.of_probe(dataset, r.metric, encoder_title(r), r.probe, count)


def section(grid: Grid, resampler: Resampler) -> Section:
    """One table per data set, and means over those that are complete."""
    words = [
        "Test scores in points of 100: the mean over seeds of the mean over folds, ± "
        "the standard deviation over seeds. In bold, the best probe of each encoder. "
        "Nothing was chosen on the test split. A dash: not run.",
        "In brackets, where the predictions of the test clips were kept, the 95 % "
        "interval over other test recordings (or the sites, speakers or clips that "
        "are known instead) and other seeds; draws of seeds alone stand in scores.csv.",
        f"{BASELINE} (mean, maximum and standard deviation of the tokens, then one "
        "linear layer) is no method of the paper but stands in every table: what does "
        "not beat it need not be trained.",
        _about_paper(grid),
    ]
    pictures = [p for p in [_against_paper(grid)] if p is not None]
    tables = [
        *_means(grid),
        *(_of_dataset(grid, d, resampler) for d in grid.datasets),
        *_other_scores(grid),
    ]
    return Section(
        name="scores",
        title="Scores, beside the paper's",
        words=tuple(words),
        pictures=tuple(pictures),
        tables=tuple(tables),
    )


def as_csv(grid: Grid, resampler: Resampler) -> str:
    """One line per cell, with everything."""
    return csv_text(COLUMNS, [_line(cell, resampler) for cell in grid.cells])


def _field(cell: Cell, resampler: Resampler, strong: bool) -> Field:
    """`64.67 ± 0.30`; below it the interval, and the paper's number."""
    spread = f" ± {cell.sd:.2f}" if len(cell.seeds) > 1 else ""
    paper, under = paper_of(cell), []
    if basis(cell) == "clips":
        under.append(between(*_interval(cell, resampler), 1))
    if paper is not None:
        under.append(f"paper {paper.value:.2f}, {signed(cell.mean - paper.value)}")
    return Field(f"{cell.mean:.2f}{spread}", cell.mean, "; ".join(under), strong)


def _interval(cell: Cell, resampler: Resampler) -> tuple[float, float]:
    return interval(resampler.draws(cell), cell.mean)


def with_baseline(probes: Sequence[str]) -> list[str]:
    """The probes, and the baseline where it was not run."""
    missing = not any(p.split(" ")[0] == BASELINE for p in probes)
    return [*probes, *([BASELINE] if missing else [])]


def _of_dataset(grid: Grid, dataset: str, resampler: Resampler) -> Table:
    cells = grid.of_dataset(dataset)
    encoders = [e for e in grid.encoders if any(c.encoder == e for c in cells)]
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    best = {e: max(c.mean for c in cells if c.encoder == e) for e in encoders}
    rows = []
    for probe in with_baseline(probes):
        row: list[Field | str] = [probe]
        for encoder in encoders:
            cell = grid.at(dataset, encoder, probe)
            if cell is None:
                row.append("–")
                continue
            is_best = len(cells) > 1 and cell.mean == best[encoder]
            row.append(_field(cell, resampler, is_best))
        rows.append(tuple(row))
    return Table(
        name=f"scores-{slug(dataset)}",
        title=f"{dataset}, test {grid.metric(dataset)}",
        columns=("probe", *encoders),
        rows=tuple(rows),
        note=_note(grid, dataset, cells),
    )


def _note(grid: Grid, dataset: str, cells: list[Cell]) -> str:
    seeds = sorted({len(c.seeds) for c in cells})
    folds = sorted({len(c.folds) for c in cells})
    parts = [
        f"{_range(seeds)} seed{'s' * (seeds != [1])}",
        f"{_range(folds)} fold{'s' * (folds != [1])}" if folds != [1] else "",
    ]
    strange = [
        e
        for e in grid.encoders
        if any(c.encoder == e for c in cells)
        and not any(paper_of(c) for c in cells if c.encoder == e)
    ]
    if strange:
        parts.append(f"no such row in the paper: {', '.join(strange)}")
    if not any(c.first.probe == BASELINE for c in cells):
        parts.append(f"{BASELINE} was not run")
    return "; ".join(p for p in parts if p) + "."


def _means(grid: Grid) -> list[Table]:
    """Per metric, the means of what was run on every data set."""
    tables = []
    for metric in dict.fromkeys(map(grid.metric, grid.datasets)):
        datasets = [d for d in grid.datasets if grid.metric(d) == metric]
        found = {
            (e, p): _mean(grid, datasets, e, p)
            for e in grid.encoders
            for p in grid.probes
        }
        known = {key: value for key, value in found.items() if np.isfinite(value)}
        if len(datasets) > 1 and known:
            tables.append(_mean_table(grid, metric, datasets, known))
    return tables


def _mean_table(
    grid: Grid,
    metric: str,
    datasets: list[str],
    known: dict[tuple[str, str], float],
) -> Table:
    encoders = [e for e in grid.encoders if any(e == x for x, _ in known)]
    probes = [p for p in grid.probes if any(p == x for _, x in known)]
    best = {e: max(v for (x, _), v in known.items() if x == e) for e in encoders}

    def one(e: str, p: str) -> Field:
        value = known.get((e, p), np.nan)
        made = number(value)
        return Field(made.text, made.value, strong=value == best[e])

    return Table(
        name=f"means-{slug(metric)}",
        title=f"Mean test {metric} over {len(datasets)} data sets",
        columns=("probe", *encoders),
        rows=tuple((p, *(one(e, p) for e in encoders)) for p in with_baseline(probes)),
        note=f"Over {', '.join(datasets)}. A dash: not run on all of them.",
    )


def _mean(grid: Grid, datasets: list[str], encoder: str, probe: str) -> float:
    """NaN where one is missing."""
    cells = [grid.at(d, encoder, probe) for d in datasets]
    return float(np.mean([np.nan if c is None else c.mean for c in cells]))


def _other_scores(grid: Grid) -> list[Table]:
    """What records have beside the score that was compared, such as of events."""
    cells = [c for c in grid.cells if c.first.more]
    if not cells:
        return []
    kinds = list(dict.fromkeys(k for c in cells for k in c.first.more))

    def one(cell: Cell, kind: str) -> Field:
        values = [f.record.more.get(kind, np.nan) for f in cell.found]
        return number(100 * float(np.mean(values)))

    return [
        Table(
            name="other-scores",
            title="Other test scores",
            columns=("data set", "encoder", "probe", *kinds),
            rows=tuple(
                (c.dataset, c.encoder, c.probe, *(one(c, k) for k in kinds))
                for c in cells
            ),
            note="Means over seeds and folds; nothing was chosen by them.",
        )
    ]


def _about_paper(grid: Grid) -> str:
    both = [(c, n) for c in grid.cells if (n := paper_of(c)) is not None]
    said = (
        "The paper's numbers are those of its tables 2, 3 and 7 as far as they are "
        "known, and second-hand (mark D): read in summaries of it, which scores.csv "
        "names, and not checked against its text. They stand only beside encoders "
        "with the published weights, and beside prototypes of the paper's number."
    )
    if not both:
        return f"{said} None of the records here has a number of the paper."
    off = np.asarray([c.mean - n.value for c, n in both])
    return (
        f"{said} {len(both)} cells have one: ours less the paper's is "
        f"{signed(float(off.mean()))} in the mean, {np.abs(off).mean():.2f} in the "
        f"mean of absolute values, {signed(float(off.min()))} to "
        f"{signed(float(off.max()))} in all."
    )


def _against_paper(grid: Grid) -> Picture | None:
    both = [(c, n) for c in grid.cells if (n := paper_of(c)) is not None]
    if not both:
        return None
    figure, (axis, *_) = drawing.panels(["test score, each cell"])
    figure.set_size_inches(6, 4.6)
    kinds = list(dict.fromkeys(c.first.probe for c, _ in both))
    handles = []
    for i, kind in enumerate(kinds):
        x = [n.value for c, n in both if c.first.probe == kind]
        y = [c.mean for c, _ in both if c.first.probe == kind]
        look = drawing.style(i) | {"linestyle": "none"}
        handles += axis.plot(x, y, ms=5, alpha=0.8, **look)
    values = [v for c, n in both for v in (c.mean, n.value)]
    ends = [min(values) - 3, max(values) + 3]
    axis.plot(ends, ends, color="0.4", lw=1, zorder=0)
    axis.set(xlabel="the paper", ylabel="here", xlim=ends, ylim=ends)
    drawing.legend(figure, handles, kinds)
    alt = "Scores here against the paper's, one point per cell; on the line both agree"
    return drawing.picture("against_the_paper", alt, figure)


def _line(cell: Cell, resampler: Resampler) -> tuple[object, ...]:
    r, paper, drawn = cell.first, paper_of(cell), basis(cell)
    ends = [round(x, 4) for x in _interval(cell, resampler)] if drawn else [None] * 2
    rates = sorted({x for f in cell.found if (x := f.record.learning_rate)})
    stacks = {(f.record.protocol, f.record.seconds) for f in cell.found}
    told = (
        (
            paper.value,
            round(cell.mean - paper.value, 4),
            paper.table,
            paper.mark,
            paper.source,
        )
        if paper
        else (None,) * 5
    )
    return (
        *(cell.dataset, r.metric, cell.encoder, cell.probe, round(cell.mean, 4)),
        round(cell.sd, 4) if np.isfinite(cell.sd) else None,
        *(len(cell.seeds), *ends, drawn, len(cell.folds)),
        round(100 * float(np.mean([f.record.validation for f in cell.found])), 4),
        *(cell.prototypes, " ".join(f"{x:g}" for x in rates), r.weight_decay),
        *(r.parameters, round(sum(s for _, s in stacks), 2)),
        *("yes" if has_published_weights(r) else "no", *told),
    )


def _range(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
