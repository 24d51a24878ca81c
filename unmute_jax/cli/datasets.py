"""What data sets there are, and whether yours can be read.

python -m unmute_jax.datasets --list
python -m unmute_jax.datasets urban --data_dir /data/URBAN-SED_v2.0.0
"""

from __future__ import annotations

import argparse
import sys

from unmute_jax.datasets import Dataset, dataset_infos, load_dataset
from unmute_jax.datasets.info import as_table
from unmute_jax.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m unmute_jax.datasets")
    parser.add_argument("name", nargs="?", help="prepare this data set and tell of it")
    parser.add_argument("--data_dir", help="where its files are")
    parser.add_argument("--on_bad", default="fail", help="'skip' leaves out bad clips")
    parser.add_argument("--list", action="store_true", help="a table of all of them")
    options = parser.parse_args(arguments)
    if options.list or not options.name:
        print(as_table(dataset_infos()))
        return 0
    try:
        dataset = load_dataset(
            options.name, data_dir=options.data_dir, on_bad=options.on_bad
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(_summary(dataset))
    return 0


def _summary(dataset: Dataset) -> str:
    splits = ", ".join(f"{split} {n:,}" for split, n in dataset.splits.items())
    lines = [
        f"{dataset.name}: {dataset.source}",
        f"  {dataset.task}, {len(dataset.classes)} classes, up to "
        f"{dataset.clip_seconds:g} s at {dataset.sample_rate:,} Hz",
        f"  {splits}",
        *(["  onsets and offsets are known"] if dataset.has_events else []),
        *(f"  {note}" for note in dataset.notes),
        f"  licence: {dataset.licence}",
        f"  prepared in {dataset.folder}",
    ]
    return "\n".join(lines)


def run() -> None:
    """Runs the command with the arguments of this process."""
    sys.exit(main())
