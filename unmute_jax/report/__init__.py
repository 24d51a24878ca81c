"""From result records to a report: Markdown, CSV, LaTeX, pictures and one HTML page."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from unmute_jax.io import write_atomically
from unmute_jax.report import (
    classes,
    costs,
    gains,
    origins,
    rankings,
    rates,
    scores,
    win_matrix,
)
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.grid import Grid
from unmute_jax.report.page import html_page
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.section import Section
from unmute_jax.report.tables import as_csv, latex, markdown

__all__ = ["write_report"]


def write_report(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    resamples: int = 500,
) -> str:
    """Writes the report of all records below some folders; returns what they are.

    Args:
        runs: Folders of runs, or of anything that holds such folders.
        output: Folder to write to: `report.html`, `report.md`, `report.tex`,
            `tables/*.csv`, `plots/*.png`; and `resampled/`, which makes the next
            report of the same records quick.
        resamples: How often test clips and seeds are drawn for intervals.

    Raises:
        InputError: No records, or records that do not go together.
    """
    out = pathlib.Path(output).expanduser()
    grid = make_grid(find_records([pathlib.Path(r).expanduser() for r in runs]))
    resampler = Resampler(resamples, out / "resampled")
    resampler.prepare(grid.cells)
    sections = make_sections(grid, resampler)
    _write(out, grid, resampler, sections)
    return origins.summary(grid)


def make_sections(grid: Grid, resampler: Resampler) -> list[Section]:
    """The whole report, from what most people look for to how it was made."""
    return [
        scores.section(grid, resampler),
        gains.gains_section(grid, resampler),
        win_matrix.section(grid),
        rankings.section(grid, resampler),
        rates.section(grid),
        gains.gap_section(grid),
        gains.prototypes_section(grid),
        classes.section(grid),
        costs.section(grid),
        origins.section(grid),
    ]


TITLE = "Probes on frozen audio encoders"


def _write(
    out: pathlib.Path, grid: Grid, resampler: Resampler, sections: Sequence[Section]
) -> None:
    summary = origins.summary(grid)
    lines = {
        "scores": scores.as_csv(grid, resampler),
        "trials": rates.as_csv(grid),
        "per_class": classes.as_csv(grid),
    }
    for section in sections:
        for picture in section.pictures:
            write_atomically(out / "plots" / f"{picture.name}.png", picture.png)
        lines |= {table.name: as_csv(table) for table in section.tables}
    for name, text in lines.items():
        write_atomically(out / "tables" / f"{name}.csv", text)
    write_atomically(out / "report.md", _markdown(sections, summary))
    write_atomically(out / "report.tex", _latex(sections, summary))
    write_atomically(out / "report.html", html_page(TITLE, summary, sections))


def _markdown(sections: Sequence[Section], summary: str) -> str:
    parts = [f"# {TITLE}", summary]
    for section in sections:
        parts += [f"## {section.title}", *section.words]
        parts += [f"![{p.alt}](plots/{p.name}.png)" for p in section.pictures]
        parts += map(markdown, section.tables)
    return "\n\n".join(p.rstrip("\n") for p in parts) + "\n"


def _latex(sections: Sequence[Section], summary: str) -> str:
    head = f"% {summary}\n% Needs \\usepackage{{booktabs}}.\n"
    return "\n".join([head, *(latex(t) for s in sections for t in s.tables)])
