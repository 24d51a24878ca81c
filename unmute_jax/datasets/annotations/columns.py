"""Finds columns of tables whose names differ from program to program."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unmute_jax.datasets.tables import Line
from unmute_jax.errors import InputError, unknown_name

# Names of columns that usually hold the label, as `canonical` returns them.
LABEL_NAMES = (
    "annotation",
    "label",
    "species",
    "class",
    "common_name",
    "scientific_name",
    "species_code",
    "sound_type",
    "call_type",
)


def canonical(name: str) -> str:
    """The name of a column in lower case, with underscores and without "(s)"."""
    name = re.sub(r"[ _]+", "_", name.lower())
    return re.sub(r"(_\(s\)|_s)$", "", name)


def find_column(lines: Sequence[Line], names: Sequence[str]) -> str | None:
    """Finds a column.

    Args:
        lines: The lines of the table, at least one.
        names: The names that it may have, as `canonical` returns them.

    Returns:
        The column as the table writes it: the first of the names that the table has
        and that is not empty in all lines, then the first that it has, then None.
    """
    header = {canonical(name): name for name in lines[0].values}
    there = [header[name] for name in names if name in header]
    filled = (name for name in there if any(line[name] for line in lines))
    return next(filled, there[0] if there else None)


def label_column(lines: Sequence[Line], where: str, chosen: str) -> str:
    """Finds the column with the labels.

    Args:
        lines: The lines of the table, at least one.
        where: The name of the table, for messages.
        chosen: The name that the user gives; empty for one of `LABEL_NAMES`.

    Raises:
        InputError: There is no such column.
    """
    header = list(lines[0].values)
    if chosen and chosen not in header:
        raise unknown_name("label column", chosen, header, where)
    if column := chosen or find_column(lines, LABEL_NAMES):
        return column
    raise InputError(
        f"{where}: none of its columns ({', '.join(header)}) is known to hold labels; "
        "dataset_options.label_column names it"
    )
