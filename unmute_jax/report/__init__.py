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
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.latex import document
from unmute_jax.report.missing import find_missing
from unmute_jax.report.page import Section, html_page, visible_section
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.tables import as_csv, escape_markdown, markdown

__all__ = ["write_report"]

TITLE = "Probes on frozen audio encoders"


def write_report(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
) -> str:
    """Writes the report of all records below some folders.

    Args:
        runs: Folders of runs, or folders that contain them at any depth.
        output: The folder to write to. It will contain `report.html`, `report.md`,
            `report.tex`, `tables/*.csv` and `plots/*.png`.

    Returns:
        A sentence that counts what the report covers.

    Raises:
        InputError: There are no records, or they cannot be combined.
    """
    out = pathlib.Path(output).expanduser()
    folders = [pathlib.Path(r).expanduser() for r in runs]
    grid = make_grid(find_records(folders), find_missing(folders))
    resampler = Resampler(cache_dir("resampled"))
    resampler.prepare(grid.cells)
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
