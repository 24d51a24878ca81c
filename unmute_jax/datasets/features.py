"""What the columns of a data set of Hugging Face hold, as its files declare it.

`datasets` stores the features of the columns in the metadata of each table, and in the
head of README.md, where they have another form. Both are read here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.datasets.audio_rows import holds_audio, is_bytes
from unmute_jax.datasets.parquet import Table
from unmute_jax.errors import InputError, unknown_name

# Names of columns without declared features that usually hold labels or audio.
_LABEL_NAMES = ("label", "labels")
_AUDIO_NAMES = ("audio", "file", "path", "file_name", "filename", "filepath")


@dataclasses.dataclass(frozen=True)
class Feature:
    """What a column holds.

    Attributes:
        kind: "audio", "label" (an index into `names`), "labels" (a list of them) or
            "value".
        names: Names of the classes, where they are declared.
    """

    kind: str
    names: tuple[str, ...] = ()


def features_of(table: Table, card: Mapping[str, Feature]) -> dict[str, Feature]:
    """Returns what each column of a table holds.

    Args:
        table: The table, whose own metadata comes first.
        card: What the README says of columns that the table does not describe.

    Raises:
        InputError: The two name the classes of a column differently.
    """
    features: dict[str, Feature] = {}
    for name in table.schema.names:
        where = f"{table.where}, column {name}"
        own = _of_schema(table.features.get(name), where)
        other = card.get(name, Feature("value"))
        if own.names and other.names and own.names != other.names:
            raise InputError(
                f"{where}: its classes are {', '.join(own.names[:3])}, ..., and "
                f"{', '.join(other.names[:3])}, ... in README.md; they must be the same"
            )
        features[name] = own if own.names or other.kind == "value" else other
    return features


def features_of_card(items: Any, where: str) -> dict[str, Feature]:
    """Returns the features in the head of a README.

    Args:
        items: The entry `features` of `dataset_info`, whatever it is.
        where: Place of the README, for messages.
    """
    found: dict[str, Feature] = {}
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get("name"), str):
            found[item["name"]] = _of_card(item, f"{where}, column {item['name']}")
    return found


def audio_column(table: Table, features: Mapping[str, Feature], given: str) -> str:
    """Returns the column with the audio.

    Args:
        table: The table.
        features: What its columns hold.
        given: Name of the column; if empty, it is found.

    Raises:
        InputError: There is no such column, or more than one.
    """
    if given:
        return _checked(table, given, "audio_column")
    types = {name: table.schema.field(name).type for name in features}
    declared = [name for name, f in features.items() if f.kind == "audio"]
    structs = [
        n for n, t in types.items() if str(t).startswith("struct") and holds_audio(t)
    ]
    binary = [name for name, kind in types.items() if is_bytes(kind)]
    named = [n for n in _AUDIO_NAMES if n in types and holds_audio(types[n])][:1]
    return _only(declared or structs or binary or named, table, "audio")


def label_column(table: Table, features: Mapping[str, Feature], given: str) -> str:
    """Returns the column with the labels; arguments and errors as in `audio_column`."""
    if given:
        return _checked(table, given, "label_column")
    declared = [n for n, f in features.items() if f.kind in ("label", "labels")]
    usual = [n for n in declared or features if n in _LABEL_NAMES]
    return _only(usual if len(usual) == 1 else declared or usual, table, "label")


def _checked(table: Table, name: str, option: str) -> str:
    if name not in table.schema.names:
        raise unknown_name(f"{option} of {table.where}", name, table.schema.names)
    return name


def _only(found: Sequence[str], table: Table, kind: str) -> str:
    if len(found) == 1:
        return found[0]
    several = f"it may be {', '.join(found)}" if found else _all(table)
    raise InputError(
        f"{table.where}: does not say which column holds the {kind}s; {several}; name "
        f"it with dataset_options.{kind}_column"
    )


def _all(table: Table) -> str:
    return f"there are {', '.join(table.schema.names) or 'no columns'}"


# The form in tables


def _of_schema(content: Any, where: str, depth: int = 0) -> Feature:
    if depth > 9:
        return Feature("value")  # No column of labels is so deep.
    if isinstance(content, list) and len(content) == 1:
        return _list_of(_of_schema(content[0], where, depth + 1))
    if not isinstance(content, Mapping):
        return Feature("value")
    kind = content.get("_type")
    if kind == "Audio":
        return Feature("audio")
    if kind == "ClassLabel":
        return Feature("label", _names(content.get("names"), where))
    if kind in ("Sequence", "List", "LargeList"):
        return _list_of(_of_schema(content.get("feature"), where, depth + 1))
    return Feature("value")


def _list_of(feature: Feature) -> Feature:
    is_label = feature.kind == "label"
    return Feature("labels", feature.names) if is_label else Feature("value")


# The form in a README


def _of_card(item: Any, where: str, depth: int = 0) -> Feature:
    if depth > 9:
        return Feature("value")
    if isinstance(item, list) and len(item) == 1:
        return _of_card(item[0], where, depth + 1)
    if item == "audio":
        return Feature("audio")
    if not isinstance(item, Mapping):
        return Feature("value")
    for key in ("sequence", "list"):
        if key in item:
            return _list_of(_of_card(item[key], where, depth + 1))
    if "class_label" in item:
        labels = item["class_label"]
        names = labels.get("names") if isinstance(labels, Mapping) else None
        return Feature("label", _names(names, where))
    if "audio" in item:
        return Feature("audio")
    return _of_card(item.get("dtype"), where, depth + 1)


def _names(names: Any, where: str) -> tuple[str, ...]:
    """Returns class names, which are a list, or a mapping from indices."""
    if names is None:
        return ()
    if isinstance(names, Mapping):
        by_index = {str(key): value for key, value in names.items()}
        if by_index.keys() != {str(i) for i in range(len(by_index))}:
            raise InputError(f"{where}: its class names are not numbered from 0")
        names = [by_index[str(i)] for i in range(len(by_index))]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InputError(
            f"{where}: its class names are not all texts; in YAML, names such as "
            "on, no or 5 need quotes"
        )
    if repeated := _repeated(names):
        raise InputError(f"{where}: two classes are named {repeated!r}")
    return tuple(names)


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")
