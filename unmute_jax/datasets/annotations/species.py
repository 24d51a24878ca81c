"""Maps the names that annotators use to classes."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.names import listed, normal_name
from unmute_jax.datasets.tables import read_table
from unmute_jax.errors import InputError


def read_species_list(path: str) -> dict[str, str]:
    """Reads a table with the columns `name` and `class`.

    Args:
        path: The file, in which commas, semicolons or tabs separate the columns.

    Returns:
        The class of each name. It is empty for names whose events are left out.

    Raises:
        InputError: The file is no such table, or a name has two classes.
    """
    place = pathlib.Path(path).expanduser()
    class_of: dict[str, str] = {}
    columns, files = ("name", "class"), Folder(place.parent)
    for line in read_table(files, place.name, columns, delimiter=None):
        name, label = normal_name(line["name"]), normal_name(line["class"])
        if class_of.setdefault(name, label) != label:
            raise InputError(
                f"{line.where}: {name!r} has the class {label!r} here and "
                f"{class_of[name]!r} in an earlier line"
            )
    return class_of


def map_labels(
    events: Mapping[str, Sequence[SoundEvent]],
    class_of: Mapping[str, str] | None,
    unlisted: str,
) -> tuple[dict[str, list[SoundEvent]], list[str]]:
    """Replaces the labels of events by their classes.

    Args:
        events: The events of each recording.
        class_of: The class of each name, see `read_species_list`; None to keep labels.
        unlisted: Treatment of events without a label, and of those whose label is not
            in the list: "fail" refuses them, "skip" leaves them out.

    Returns:
        The events of each recording, and notes on those that are left out.

    Raises:
        InputError: An event has no label, or its label is not in the list.
    """
    skipped = collections.Counter[str]()
    mapped: dict[str, list[SoundEvent]] = {}
    for recording, of_recording in events.items():
        mapped[recording] = []
        for event in of_recording:
            name = normal_name(event.label)
            label = name if class_of is None else class_of.get(name)
            if (label is None or not name) and unlisted == "fail":
                problem = f"the label {name!r} is not in the species list"
                raise InputError(
                    f"{event.where}: {problem if name else 'the event has no label'}; "
                    "dataset_options.unlisted=skip leaves such events out"
                )
            if label:
                mapped[recording].append(dataclasses.replace(event, label=label))
            else:
                skipped[name or "(no label)"] += 1
    if not skipped:
        return mapped, []
    names = [f"{name} ({n})" for name, n in skipped.most_common()]
    note = f"events that are left out, by label: {listed(names)}"
    return mapped, [note]
