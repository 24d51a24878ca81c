"""Clips of the user's own data sets before they are read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from unmute_jax.datasets.names import normal_name
from unmute_jax.errors import InputError, one_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnEntry:
    """A clip that has not been read yet.

    Attributes:
        file: Path of its file, relative to the root or absolute.
        labels: Names of its classes.
        events: Names of classes with their onsets and offsets in seconds.
        split: Its split; empty if a rule decides.
        group: Name shared by clips that stay in one split.
    """

    file: str
    labels: tuple[str, ...]
    events: tuple[tuple[str, float, float], ...] = ()
    split: str = ""
    group: str = ""


def with_groups(
    entries: Sequence[OwnEntry], pattern: str, where: str
) -> list[OwnEntry]:
    """Returns clips with the groups that their file names say.

    Args:
        entries: The clips, none of which has a group.
        pattern: Regular expression, whose first group in parentheses is the group of
            the clip. It is searched in the name of the file, or in the path below the
            root if it contains a slash.
        where: Place of the data set, for messages.

    Raises:
        InputError: The pattern is no regular expression, has no group in parentheses or
            finds none in some file, or the clips have groups already.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"group_pattern={pattern!r} is not a regular expression: {error}"
        ) from None
    if not compiled.groups:
        raise InputError(
            f"group_pattern={pattern!r} needs parentheses around what names the group"
        )
    if given := [entry for entry in entries if entry.group]:
        raise InputError(
            f"{where}: {given[0].file} has the group {given[0].group!r} already; leave "
            "out group_pattern or the column group"
        )
    found: list[OwnEntry] = []
    lost: list[str] = []
    for entry in entries:
        text = normal_name(entry.file)
        match = compiled.search(text if "/" in pattern else text.rpartition("/")[2])
        if group := normal_name((match and match[1]) or ""):
            found.append(dataclasses.replace(entry, group=group))
        else:
            lost.append(entry.file)
    if lost:
        raise InputError(
            f"{where}: group_pattern={pattern!r} finds no group in {len(lost)} of "
            f"{len(entries)} files, the first is {one_line(lost[0])}"
        )
    return found
