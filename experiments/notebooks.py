"""Runs the notebooks and writes what their cells print and draw into them.

    python -m experiments.notebooks --output FOLDER

The cell with the tag `parameters` says how large the experiments are. `--small` runs
the notebooks with few clips and one epoch, to see that they work, and changes none.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL = {"train_clips": 24, "test_clips": 12, "epochs": 1, "seeds": 2}


def run_notebook(
    notebook: pathlib.Path, folder: pathlib.Path, *, small: bool = False
) -> nbformat.NotebookNode:
    """Runs all cells of a notebook.

    Args:
        notebook: The file of the notebook.
        folder: The folder in which it is run.
        small: Whether experiments have few clips and one epoch.

    Returns:
        The notebook with the outputs of this time.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell has raised an exception.
    """
    read = nbformat.read(notebook, as_version=4)
    if small:
        changes = "".join(f"\n{name} = {value}" for name, value in SMALL.items())
        for cell in read.cells:
            if "parameters" in cell.metadata.get("tags", ()):
                cell.source += changes
    where = {"metadata": {"path": str(folder)}}
    # A cell may train for minutes. Times would differ with every run.
    client = NotebookClient(read, timeout=1800, resources=where, record_timing=False)
    return client.execute()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the notebooks and writes their outputs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--small", action="store_true")
    chosen = parser.parse_args(arguments)
    chosen.output.mkdir(parents=True, exist_ok=True)
    for notebook in NOTEBOOKS:
        done = run_notebook(notebook, chosen.output, small=chosen.small)
        if not chosen.small:
            nbformat.write(done, notebook)


if __name__ == "__main__":
    main()
