"""Which tables of a data set of Hugging Face belong to which configuration and split.

The rules are those of `datasets`: the entry `configs` in the head of README.md where it
is there, and otherwise the names of files (`data/train-00000-of-00002.parquet`,
`train.parquet`) and of folders (`train/0000.parquet`). What the hub converts lies in
`CONFIG/SPLIT/0000.parquet`, and `save_to_disk` writes folders with a `state.json`.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.datasets.features import Feature, features_of_card
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.parquet import SUFFIXES
from unmute_jax.errors import InputError, unknown_name

_SHARD = re.compile(
    r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?\.\w+"
)
_USUAL = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_WORD = {word: split for split, words in _USUAL.items() for word in words}
_WORDS = re.compile(rf"(?:^|[-._ 0-9])({'|'.join(_WORD)})(?=[-._ 0-9]|$)")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The tables of one configuration.

    Attributes:
        config: Name of the configuration; empty where there is only one without a name.
        splits: Tables of each split, in order.
        features: What the README says about the columns.
    """

    config: str
    splits: Mapping[str, tuple[str, ...]]
    features: Mapping[str, Feature]


def layout_of(
    names: Sequence[str],
    card: Mapping[str, Any],
    config: str,
    where: str,
    prefer: Sequence[str] = (),
) -> Layout:
    """Returns the tables of a configuration.

    Args:
        names: Paths of all files of the data set.
        card: Head of its README.md; empty without one.
        config: Name of the configuration; empty for the only or the default one.
        where: Place of the data set, for messages.
        prefer: Configurations of which the first one that is there is taken, if none
            is named.

    Raises:
        InputError: There is no such configuration, or it has missing tables.
    """
    tables = sorted(n for n in names if n.endswith(SUFFIXES) and not _is_hidden(n))
    declared = _declared(card)
    name, splits = (
        _of_card(declared, tables, config, prefer, where)
        if declared
        else _of_names(tables, config, prefer, where)
    )
    for split, files in splits.items():
        _check_shards(files, f"{where}, split {split}")
    return Layout(name, splits, features_of_card(_features(card, name), where))


def layout_on_disk(root: pathlib.Path) -> Layout | None:
    """Returns the tables that `save_to_disk` of `datasets` has written, if it has.

    Raises:
        InputError: A file that describes them is damaged, or a table is missing.
    """
    if (root / "dataset_dict.json").is_file():
        splits = _json(root / "dataset_dict.json", "splits")
        folders = {str(split): f"{split}/" for split in splits}
    elif (root / "state.json").is_file():
        folders = {"train": ""}
    else:
        return None
    tables: dict[str, tuple[str, ...]] = {}
    for split, folder in folders.items():
        state = root / folder / "state.json"
        try:
            names = [str(file["filename"]) for file in _json(state, "_data_files")]
        except (TypeError, KeyError):
            raise InputError(f"{state}: is missing or damaged") from None
        tables[split] = tuple(f"{folder}{name}" for name in names)
        if missing := Folder(root).missing(tables[split]):
            raise InputError(f"{root}: {missing[0]} is missing")
    return Layout("", tables, {})


def usual_split(name: str) -> str:
    """Returns "train", "validation" or "test" if a name contains a usual word for it.

    Args:
        name: Name of a file or a folder, such as "fsd50k_eval".
    """
    words = _WORDS.findall(name.replace("_", "-").lower())
    return _WORD[words[-1]] if words else ""


def choose_splits(
    there: Iterable[str], given: Mapping[str, str], where: str
) -> dict[str, list[str]]:
    """Returns which splits of a data set serve for training, validation and the test.

    Args:
        there: Names of its splits.
        given: Names for "train", "validation" and "test", separated by commas; empty
            ones are found by their usual names.
        where: Place of the data set, for messages.

    Raises:
        InputError: A split is unknown or used twice, or cannot be chosen.
    """
    there = list(there)
    chosen: dict[str, list[str]] = {}
    for role, text in given.items():
        for name in filter(None, (part.strip() for part in text.split(","))):
            if name not in there:
                raise unknown_name(f"split of {where}", name, there)
            chosen.setdefault(role, []).append(name)
    used = [name for names in chosen.values() for name in names]
    if repeated := [name for name, n in collections.Counter(used).items() if n > 1]:
        raise InputError(f"{where}: split {repeated[0]} is chosen more than once")
    left = [name for name in there if name not in used]
    for role, words in _USUAL.items():
        if role in chosen:
            continue
        similar = [name for name in left if usual_split(name) == role]
        exact = [name for name in words if name in left]
        if found := exact[:1] or similar:
            if len(found) > 1:
                raise InputError(
                    f"{where}: {', '.join(found)} may be for {role}; "
                    f"dataset_options.{role}_from names those to use, separated by "
                    "commas"
                )
            chosen[role] = found
    if not chosen and len(there) == 1:
        chosen["train"] = there
    if "train" not in chosen:
        raise InputError(
            f"{where}: no split is for training, there are {', '.join(there)}; "
            "dataset_options.train_from names those to train on, separated by commas"
        )
    return chosen


def _is_hidden(name: str) -> bool:
    parts = pathlib.PurePosixPath(name).parts
    return any(p.startswith((".", "__")) for p in parts) or parts[-1].startswith(
        "cache-"
    )


def _check_shards(files: Sequence[str], where: str) -> None:
    """Refuses splits of which a table is missing or is there in two versions."""
    shards = [match for f in files if (match := _SHARD.fullmatch(f.split("/")[-1]))]
    if not shards:
        return
    there = collections.Counter(int(match["index"]) for match in shards)
    count = int(shards[0]["count"])
    if missing := sorted(set(range(count)) - there.keys()):
        raise InputError(
            f"{where}: has {len(there)} of {count} tables; number {missing[0]:05d} is "
            "missing"
        )
    if len(shards) > count:
        raise InputError(
            f"{where}: has {len(shards)} tables that call themselves {count}"
        )


# Names


def _of_names(
    tables: Sequence[str], config: str, prefer: Sequence[str], where: str
) -> tuple[str, dict[str, tuple[str, ...]]]:
    configs: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        name, split = _config_and_split(table)
        configs.setdefault(name, {}).setdefault(split, []).append(table)
    chosen = _choose_config(list(configs), prefer, config, where)
    return chosen, {split: tuple(t) for split, t in configs[chosen].items()}


def _config_and_split(table: str) -> tuple[str, str]:
    *folders, file = table.split("/")
    stem = file.rpartition(".")[0]
    shard = _SHARD.fullmatch(file)
    split = "" if shard is None else shard["split"]
    if not split and not stem.isdigit():
        split = usual_split(stem)
    if not split and folders and (stem.isdigit() or usual_split(folders[-1])):
        split = folders.pop()
    if folders and split and usual_split(folders[-1]) == usual_split(split) != "":
        folders.pop()  # It repeats what the name of the table says.
    return "/".join(folders[folders[:1] == ["data"] :]), split or "train"


# The README


def _declared(card: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the configurations that a README describes with their files."""
    configs = card.get("configs")
    return {
        str(config.get("config_name", "default")): config
        for config in (configs if isinstance(configs, list) else ())
        if isinstance(config, Mapping) and config.get("data_files") is not None
    }


def _of_card(
    configs: Mapping[str, Mapping[str, Any]],
    tables: Sequence[str],
    config: str,
    prefer: Sequence[str],
    where: str,
) -> tuple[str, dict[str, tuple[str, ...]]]:
    default = [name for name, c in configs.items() if c.get("default")]
    # Whoever downloads one configuration has the README of all of them.
    there = [
        name
        for name, about in configs.items()
        if any(t for _, found in _tables_of(about, tables, where) for t in found)
    ]
    chosen = _choose_config(
        there if there and not config else list(configs),
        [*prefer, *default],
        config,
        where,
    )
    splits: dict[str, tuple[str, ...]] = {}
    for split, found in _tables_of(configs[chosen], tables, where):
        if not found:
            raise InputError(
                f"{where}: README.md names files for split {split} of configuration "
                f"{chosen}, and none of them is a {' or '.join(SUFFIXES)} file here"
            )
        splits[split] = tuple(dict.fromkeys(found))
    return chosen, splits


def _tables_of(
    about: Mapping[str, Any], tables: Sequence[str], where: str
) -> list[tuple[str, list[str]]]:
    """Returns the tables of each split of a configuration."""
    folder = about.get("data_dir")
    prefix = f"{str(folder).strip('/')}/" if folder else ""
    return [
        (split, [t for p in patterns for t in _matching(prefix + p, tables)])
        for split, patterns in _patterns(about["data_files"], where)
    ]


def _patterns(files: Any, where: str) -> list[tuple[str, list[str]]]:
    """Returns the patterns of each split, in any of the forms of `data_files`."""
    if isinstance(files, Mapping):
        files = [{"split": split, "path": path} for split, path in files.items()]
    if isinstance(files, str):
        files = [files]
    if isinstance(files, list) and all(isinstance(file, str) for file in files):
        files = [{"split": "train", "path": files}]
    found: list[tuple[str, list[str]]] = []
    for file in files if isinstance(files, list) else [None]:
        entry = file if isinstance(file, Mapping) else {}
        path = entry.get("path")
        paths = [path] if isinstance(path, str) else path
        if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
            raise InputError(f"{where}: README.md has data_files without paths")
        found.append((str(entry.get("split", "train")), paths))
    return found


def _matching(pattern: str, tables: Iterable[str]) -> list[str]:
    # `datasets` uses this function of fsspec, too.
    from fsspec.utils import glob_translate

    matches = re.compile(glob_translate(pattern.removeprefix("./"))).match
    return [table for table in tables if matches(table)]


def _features(card: Mapping[str, Any], config: str) -> Any:
    infos = card.get("dataset_info")
    for info in infos if isinstance(infos, list) else [infos]:
        if isinstance(info, Mapping):
            named = str(info.get("config_name", "default"))
            if named == (config or "default") or not isinstance(infos, list):
                return info.get("features")
    return None


def _choose_config(
    there: Sequence[str], prefer: Sequence[str], given: str, where: str
) -> str:
    if given in there:
        return given
    if given and there == [""]:
        raise InputError(f"{where}: has no configurations, {given!r} was given")
    if given:
        raise unknown_name(f"configuration of {where}", given, there)
    for name in (*prefer, "", "default"):
        if name in there:
            return name
    if len(there) == 1:
        return there[0]
    raise InputError(
        f"{where}: has the configurations {', '.join(there)}; name one of them, as in "
        f"hf:{where}:{there[0]}"
    )


def _json(path: pathlib.Path, key: str) -> list[Any]:
    """Returns a list in a file that `datasets` has written."""
    try:
        value = json.loads(path.read_text("utf-8"))[key]
        if isinstance(value, list):
            return value
        raise ValueError(key)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: is missing or damaged") from None
