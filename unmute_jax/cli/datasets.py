"""Lists the data sets, or prepares one and describes it.

unmute datasets
unmute datasets urban --data_dir /data/URBAN-SED_v2.0.0
unmute datasets folder:/data/birds --option folds=5
unmute datasets hf:ashraq/esc50 --option label_column=category
unmute datasets 'wds:/data/fsd50k_*.tar'

A data set is one of the list, or is named by its place: folder:PATH, csv:PATH,
annotations:PATH, hf:OWNER/NAME, hf:PATH or wds:PATTERN. Preparing it shows whether
its files can be read, and how many clips each split and class has.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from unmute_jax.cli.ending import explained
from unmute_jax.cli.parser import Parser
from unmute_jax.console import say
from unmute_jax.errors import InputError, one_line

if TYPE_CHECKING:
    from unmute_jax.datasets import Dataset

# Data sets that are named by their place.
OTHER_KINDS = (
    "folder:PATH",
    "csv:PATH",
    "annotations:PATH",
    "hf:OWNER/NAME",
    "hf:PATH",
    "wds:PATTERN",
)
# Classes whose clips are counted, the most frequent ones first.
MOST_CLASSES = 30


def main(arguments: list[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of this process."""
    with explained():
        _run(arguments)


def _run(arguments: list[str] | None) -> None:
    options = parser().parse_args(arguments)
    from unmute_jax.datasets import dataset_infos, load_dataset
    from unmute_jax.datasets.info import as_table

    if options.list or not options.name:
        print(as_table(dataset_infos()))
        print(f"\nOther data sets are named by their place: {', '.join(OTHER_KINDS)}.")
        return
    given = dict(map(_option, options.option))
    if own := sorted({"name", "data_dir", "on_bad"} & given.keys()):
        raise InputError(
            f"--option {own[0]}: is an argument of the command itself, not an option "
            "of a data set; `unmute datasets --help` shows it"
        )
    dataset = load_dataset(
        options.name,
        data_dir=options.data_dir,
        on_bad=options.on_bad,
        **given,
    )
    say(_summary(dataset))


def parser() -> Parser:
    """The parser of the arguments."""
    made = Parser("datasets", __doc__, "[DATASET] [--OPTION=VALUE ...]")
    made.add_argument("name", nargs="?")
    made.add_argument(
        "--data_dir",
        metavar="PLACE",
        help="The place of its files; for a listed data set also hf:OWNER/NAME, a copy "
        "of it on Hugging Face.",
    )
    made.add_argument(
        "--on_bad",
        metavar="fail|skip",
        default="fail",
        help="What to do with clips that cannot be read: stop, or leave them out.",
    )
    made.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="An option of the data set, as --config.dataset_options.NAME=VALUE of "
        "`unmute train`, whose --help describes them. It may be given several times.",
    )
    made.add_argument("--list", action="store_true", help="List all data sets.")
    return made


def _option(text: str) -> tuple[str, Any]:
    """Returns the name and the value of an option: a number, True, False or a text."""
    name, sign, value = text.partition("=")
    if not sign:
        raise InputError(f"--option {text}: write --option NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _summary(dataset: Dataset) -> str:
    from unmute_jax.datasets.names import listed

    splits = ", ".join(f"{split} {n:,}" for split, n in dataset.splits.items())
    counts = zip(dataset.classes, dataset.clips_per_class, strict=False)
    ordered = sorted(counts, key=lambda item: -item[1])
    per_class = listed(
        [f"{one_line(name, 60)} {n:,}" for name, n in ordered], MOST_CLASSES
    )
    lines = [
        f"{dataset.name}: {dataset.source}",
        f"  {dataset.task}, {len(dataset.classes)} classes, up to "
        f"{dataset.clip_seconds:g} s at {_range(dataset.sample_rates)} Hz",
        f"  {splits}",
        f"  {listed([protocol.name for protocol in dataset.all_protocols])}",
        *([f"  clips per class: {per_class}"] if dataset.clips_per_class else []),
        *(["  with onsets and offsets"] if dataset.has_events else []),
        *(f"  {note}" for note in dataset.notes),
        f"  licence: {dataset.licence}",
        f"  prepared in {dataset.folder}",
    ]
    return "\n".join(lines)


def _range(rates: Collection[int]) -> str:
    low, high = min(rates), max(rates)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def run() -> None:
    """Runs the command with the arguments of this process."""
    main()
