"""All token stores in one place: what is there, and why none of them is the wanted."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from unmute_jax.token_files import Place, list_files, place_of, read_file
from unmute_jax.token_key import MANIFEST, differences


def manifests_under(root: str | pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and manifest of each store in `root`, finished or not, of any format.

    What is no store, or has a manifest that cannot be read, is left out.
    """
    place = place_of(root)
    for name in _folders(place):
        data = read_file(place, f"{name}/{MANIFEST}")
        try:
            manifest = json.loads(data or b"")
            _subject(manifest["key"])
        except (ValueError, LookupError, TypeError):
            continue
        yield name, manifest


def explain_miss(root: str | pathlib.Path, key: dict) -> list[str]:
    """Why no store under `root` has this key: what differs from the nearest ones.

    Only stores of the same data set, split and encoder name are compared. There is one
    line per differing field of each nearest store, or a single line when there is
    nothing to compare with.
    """
    same = {
        name: differences(manifest["key"], key)
        for name, manifest in manifests_under(root)
        if _subject(manifest["key"]) == _subject(key) and manifest["key"] != key
    }
    if not same:
        dataset, split, encoder = _subject(key)
        return [f"there are no tokens of {dataset} {split} by {encoder} under {root}"]
    fewest = min(map(len, same.values()))
    return [
        f"{name} differs in {line}"
        for name, lines in same.items()
        if len(lines) == fewest
        for line in lines
    ]


def _subject(key: dict) -> tuple[str, str, str]:
    return key["dataset"], key["split"], key["encoder"]["name"]


def _folders(place: Place) -> list[str]:
    """Names of what lies directly in a place and may be a store, in order."""
    if isinstance(place, pathlib.Path):
        # A listing through tensorstore would name every file of every store.
        return sorted(p.parent.name for p in place.glob(f"*/{MANIFEST}"))
    names = (name.split("/") for name in list_files(place))
    return sorted(parts[0] for parts in names if parts[1:] == [MANIFEST])
