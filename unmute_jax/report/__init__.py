"""Writes a report of result records: a web page, Markdown, CSV, LaTeX and pictures."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from unmute_jax.io import cache_dir, write_atomically
from unmute_jax.report import (
    classes,
    comparisons,
    costs,
    gains,
    layers,
    origins,
    overview,
    rankings,
    rates,
    records,
    scores,
    win_matrix,
)
from unmute_jax.report.comparisons import Comparison
from unmute_jax.report.dataframes import to_dataframe
from unmute_jax.report.gather import Runs, grid_of, read_records
from unmute_jax.report.latex import document
from unmute_jax.report.page import Section, html_page, visible_section
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.tables import as_csv, escape_markdown, markdown

__all__ = ["Comparison", "compare", "read_records", "to_dataframe", "write_report"]

TITLE = "Probes on frozen audio encoders"


def write_report(runs: Runs, folder: str | os.PathLike[str]) -> str:
    """Writes a report of records: a web page, Markdown, LaTeX, CSV and pictures.

        uj.write_report(uj.train("quickstart"), "report")
        uj.write_report("runs", "report")

    Args:
        runs: Records, as `train` and `read_records` return them; or folders of runs, or
            folders that contain them at any depth. Only the report of folders names
            runs that failed or are unfinished.
        folder: The folder to write to. It will contain `report.html`, `report.md`,
            `report.tex`, `tables/*.csv` and `plots/*.png`.

    Returns:
        A sentence that counts what the report covers.

    Raises:
        InputError: There are no records, or they cannot be combined.
    """
    out = pathlib.Path(folder).expanduser()
    grid = grid_of(runs)
    resampler = _resampler(grid)
    compared = comparisons.compare(grid, resampler)
    tables = {
        "scores": scores.as_csv(grid, resampler),
        "comparisons": comparisons.as_csv(compared),
        "records": records.as_csv(grid),
        "trials": rates.as_csv(grid),
        "per_class": classes.as_csv(grid),
    }
    _write(out, grid, tables, _make_sections(grid, resampler, compared))
    return origins.summary(grid)


def compare(runs: Runs) -> list[Comparison]:
    """Compares encoders under each probe, and probes on each encoder.

    Both sides are tested on the same clips, so that what makes a clip hard for both
    cancels, and the interval of the difference is narrower than those of the scores.

    Args:
        runs: Records or folders of runs, as for `write_report`.

    Returns:
        One comparison for each pair on each data set and, where there are several data
        sets, one for each pair over those that most pairs have. Differences are in
        points of 100; `better` names the side that is better where the 95 % interval
        over clips and seeds decides it.

    Raises:
        InputError: There are no records, or they cannot be combined.
    """
    grid = grid_of(runs)
    return comparisons.compare(grid, _resampler(grid))


def _resampler(grid: ResultGrid) -> Resampler:
    """Scores of the cells on parts of their clips, computed already."""
    resampler = Resampler(cache_dir("resampled"))
    resampler.prepare(grid.cells)
    return resampler


def _make_sections(
    grid: ResultGrid, resampler: Resampler, compared: Sequence[Comparison]
) -> list[Section]:
    """Makes all sections, starting with what most readers look for."""
    ranked = rankings.rank(grid, resampler)
    return [
        overview.section(grid, resampler, rankings.over_common(grid, ranked)),
        scores.section(grid, resampler),
        gains.gains_section(grid, resampler),
        win_matrix.section(grid, compared),
        comparisons.section(grid, compared),
        rankings.section(grid, ranked),
        rates.section(grid),
        gains.gap_section(grid),
        gains.prototypes_section(grid),
        *layers.sections(grid),
        classes.section(grid),
        costs.section(grid),
        origins.section(grid),
    ]


def _write(
    out: pathlib.Path,
    grid: ResultGrid,
    tables: dict[str, str],
    sections: Sequence[Section],
) -> None:
    summary = f"{origins.summary(grid)}."
    for section in sections:
        for picture in section.pictures:
            write_atomically(out / "plots" / f"{picture.name}.png", picture.png)
        tables = tables | {table.name: as_csv(table) for table in section.tables}
    sections = list(map(visible_section, sections))
    for name, text in tables.items():
        write_atomically(out / "tables" / f"{name}.csv", text)
    write_atomically(out / "report.md", _markdown(sections, summary))
    write_atomically(out / "report.tex", _latex(sections, summary))
    write_atomically(out / "report.html", html_page(TITLE, summary, sections))


def _markdown(sections: Sequence[Section], summary: str) -> str:
    parts = [f"# {TITLE}", summary]
    for section in sections:
        parts.append(f"## {escape_markdown(section.title)}")
        parts += map(escape_markdown, section.paragraphs)
        parts += [
            f"![{escape_markdown(p.alt)}](plots/{p.name}.png)" for p in section.pictures
        ]
        parts += map(markdown, section.tables)
    return "\n\n".join(p.rstrip("\n") for p in parts) + "\n"


def _latex(sections: Sequence[Section], summary: str) -> str:
    return f"% {summary}\n{document(t for s in sections for t in s.tables)}"
