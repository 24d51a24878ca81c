"""Makes a report of finished runs.

python -m experiments.report RUN [RUN ...] --output OUT

A RUN is the folder of a run, or a folder of such folders: every results/*.json below it
is read. Runs of several encoders, data sets, probes and options may be mixed, and none
has to be complete. OUT will hold

    report.html   all of it as one page, with nothing beside it
    report.md     the same as Markdown, report.tex its tables for LaTeX (booktabs)
    tables/       every table as CSV; scores.csv, trials.csv and per_class.csv in full
    plots/        the pictures
    resampled/    what took long, so that the next report of these runs is quick
"""

from __future__ import annotations

import pathlib

from absl import flags

from unmute_jax.cli import program
from unmute_jax.errors import InputError
from unmute_jax.report import write_report

OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
RESAMPLES = flags.DEFINE_integer(
    "resamples", 500, "Draws of test clips and seeds, for intervals."
)


def main(runs: list[str]) -> None:
    """Reads, writes and says what was found."""
    if not runs:
        raise InputError("say which runs: RUN [RUN ...] --output OUT")
    if RESAMPLES.value < 2:
        raise InputError(f"--resamples must be at least 2, not {RESAMPLES.value}")
    folder = pathlib.Path(program.required(OUTPUT)).expanduser()
    found = write_report(runs, folder, resamples=RESAMPLES.value)
    print(f"{found}\nopen {folder}/report.html")


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch_plain(main, __doc__)
