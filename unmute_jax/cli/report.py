"""Turns the records of runs into a report.

unmute report RUN [RUN ...] --output OUT
unmute report RUN --output OUT --open

RUN is the folder of a run, or a folder that contains runs: every results/*.json below
it is read. Encoders, data sets, probes and options may be mixed, and runs may be
incomplete. OUT will contain

    report.html   the whole report as one self-contained page
    report.md     the report as Markdown; report.tex has its tables for LaTeX (booktabs)
    tables/       every table as CSV, and in full: scores.csv (a row per cell),
                  records.csv (a row per record, not rounded), comparisons.csv,
                  trials.csv and per_class.csv
    plots/        the pictures
    mteb/         with --export=mteb: the results in the format of the repository that
                  collects those of mteb and MAEB (docs/training.md)

Scores of resampled clips are cached, so that the next report of the same runs is quick.
"""

from __future__ import annotations

import pathlib

from absl import flags

from unmute_jax.cli import program
from unmute_jax.errors import InputError

USAGE = "RUN [RUN ...] --output=FOLDER [--OPTION=VALUE ...]"
OUTPUT = flags.DEFINE_string("output", None, "The folder to write to.")
EXPORT = flags.DEFINE_enum(
    "export", None, ["mteb"], "A format in which the results are written, too."
)
OPEN = flags.DEFINE_bool("open", False, "Open the page of the report in a browser.")


def main(runs: list[str]) -> None:
    """Reads the records, writes the report and prints what it contains."""
    if not runs:
        raise InputError("no runs are given: write RUN [RUN ...] --output OUT")
    folder = pathlib.Path(program.required(OUTPUT)).expanduser()
    with program.importing():
        from unmute_jax.report import write_report
        from unmute_jax.report.mteb_results import export_results
        from unmute_jax.report.page import open_page

    found = write_report(runs, folder)
    if EXPORT.value == "mteb":
        print(f"{export_results(runs, folder / 'mteb')}, in {folder}/mteb")
    print(found)
    print(
        open_page(folder / "report.html")
        if OPEN.value
        else f"open {folder}/report.html"
    )


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        main(arguments)
