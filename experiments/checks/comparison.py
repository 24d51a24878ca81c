"""Compares everything that two runs of the same commands have written."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from typing import Any

import jax
import numpy as np

from unmute_jax.datasets.clips import quiet_tfds
from unmute_jax.results.record import DIGEST, MEASURED

# Fields of JSON files that differ between two undisturbed runs. The size of prepared
# data is one: array_record rounds the length of its files up, and the fields of a clip
# have no order in them.
MEASURED_FIELDS = {*MEASURED, DIGEST, "numBytes"}
# Files that only a killed process leaves, and that no later one takes for anything.
LEFT_BEHIND = re.compile(r"\.(tmp|__lock|holder)$|incomplete|orbax-checkpoint-tmp")
# What two undisturbed runs do not have in common: checkpoints have random names, and
# the status of a cell says who worked on it and when.
NOT_COMPARED = re.compile(r"^cache/compiled|/checkpoints/|/status\.json$|\.lock$")


def compare(calm: pathlib.Path, harried: pathlib.Path) -> tuple[list[str], list[str]]:
    """Compares all files of two runs, except those that no two runs have in common.

    Args:
        calm: Folder of a run that nothing disturbed.
        harried: Folder of a run that was killed and started again.

    Returns:
        The temporary files in `harried`, and the files that differ or exist only once.
    """
    wanted, found = _files_of(calm), _files_of(harried)
    left = {n for n in found.keys() - wanted.keys() if LEFT_BEHIND.search(n)}
    names = {n for n in wanted.keys() | found.keys() if not NOT_COMPARED.search(n)}
    both = wanted.keys() & found.keys()
    same = {n for n in names & both if _content(wanted[n]) == _content(found[n])}
    return sorted(left), sorted(names - same - left)


def _files_of(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}


def _content(path: pathlib.Path) -> Any:
    """Returns the content of a file, without what differs between undisturbed runs."""
    data = path.read_bytes()
    with contextlib.suppress(ValueError):
        if path.suffix == ".json":
            return _without_times(json.loads(data))
        if path.suffix == ".safetensors":
            # The metadata have no order.
            start = 8 + int.from_bytes(data[:8], "little")
            return json.loads(data[8:start]), data[start:]
        if ".array_record-" in path.name:
            return _clips(path)
    return data


def _clips(path: pathlib.Path) -> list[Any]:
    """Reads the clips of a split; their fields have no order in the file."""
    import tensorflow_datasets as tfds

    split = path.name.partition(".")[0].rpartition("-")[2]
    with quiet_tfds():
        builder: Any = tfds.builder_from_directory(path.parent)
        records = builder.as_data_source(split=split)
    return [jax.tree.map(lambda x: np.asarray(x).tobytes(), r) for r in records]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in MEASURED_FIELDS}
        return {k: _without_times(v) for k, v in kept.items()}
    return list(map(_without_times, value)) if isinstance(value, list) else value
