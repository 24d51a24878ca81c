"""Token maps that other code has exported: `--config.encoder=tokens:/path`.

A folder with `tokens.json`, which says what they are,

    {"name": "my model, layer 9", "seconds_per_step": 0.16,
     "frequency_edges_hz": [[0, 8000]]}

(and, if you like, "description" and "licence"), and any number of files, in sub-folders
or not, each with some of the clips:

    *.npz            patches [n, T, F, D] or [n, T, D], floating point
                     ids [n], words: those of the clips in the data set
                     cls [n, D] and mask [n, T] of bool, where there are such
    *.safetensors    the same arrays; the ids as metadata {"ids": "[...]"}, a JSON list

`dataset.source_of(split)` yields clips with `id` and `waveform`. Labels are those of
the data set. The order does not matter, nor do clips that it has not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from unmute_jax.console import progress
from unmute_jax.encoders.base import Geometry, TokenSource
from unmute_jax.encoders.exported_files import SUFFIXES, TokenFile, open_file
from unmute_jax.encoders.token_arrays import as_tokens, check_edges
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import cache_dir, write_atomically
from unmute_jax.tokens import Tokens

FACTS = "tokens.json"
REQUIRED = ("name", "seconds_per_step", "frequency_edges_hz")
OPTIONAL = ("description", "licence")
# Ids named in a message.
SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportedTokens(TokenSource):
    """The tokens in one folder.

    Attributes:
        folder: Where they are.
        sha256: Of all files.
        files: In the order of their names.
        shape: (T, F, D).
        place: Of each clip, by id: its file and its row there.
    """

    folder: pathlib.Path
    sha256: str
    where: Geometry
    files: tuple[TokenFile, ...] = dataclasses.field(repr=False)
    shape: tuple[int, int, int]
    place: dict[str, tuple[int, int]] = dataclasses.field(repr=False)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> ExportedTokens:
        """The tokens in `folder`; the patches are not read yet.

        Raises:
            InputError: `tokens.json` or an array is missing or wrong, or a clip is
                there twice.
        """
        folder = pathlib.Path(folder).expanduser().absolute()
        facts = _facts(folder)
        paths = sorted(p for s in SUFFIXES for p in folder.rglob(f"[!.]*{s}"))
        if not paths:
            raise InputError(f"{folder} holds no {' and no '.join(SUFFIXES)} files")
        files = tuple(map(open_file, paths))
        shape = _common_shape(files)
        edges = tuple((float(low), float(high)) for low, high in facts[REQUIRED[2]])
        if len(edges) != shape[1]:
            raise InputError(
                f"{folder / FACTS}: frequency_edges_hz has (low, high) of {len(edges)} "
                f"bands, and the patches have {shape[1]}"
            )
        return cls(
            name=facts["name"],
            description=facts.get("description", facts["name"]),
            licence=facts.get("licence", "not said"),
            folder=folder,
            sha256=_digest(folder, paths),
            where=Geometry(float(facts["seconds_per_step"]), edges),
            files=files,
            shape=shape,
            place=_places(files),
        )

    @property
    def num_features(self) -> int:
        """D of the patches."""
        return self.shape[2]

    @property
    def geometry(self) -> Geometry:
        """As `tokens.json` has it."""
        return self.where

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the patches, however long the clips are."""
        del clip_seconds
        return self.shape[0], self.shape[1]

    def identity(self) -> dict[str, Any]:
        """Name, content and geometry."""
        return {
            "name": self.name,
            "weights": f"exported tokens, sha256:{self.sha256}",
            "geometry": dataclasses.asdict(self.where),
        }

    def check_clips(self, ids: Sequence[str], what: str) -> None:
        """Refuses clips that are not there.

        Args:
            ids: Of the clips that are wanted.
            what: For the error: whose clips.

        Raises:
            InputError: Names some that are missing, and some that nobody wants.
        """
        missing = [i for i in ids if i not in self.place]
        if not missing:
            return
        wanted = set(ids)
        others = [i for i in self.place if i not in wanted]
        hint = f"; clips there that {what} has not: {_some(others)}" if others else ""
        raise InputError(
            f"{self.folder} has no tokens of {len(missing)} of the {len(ids)} clips of "
            f"{what}: {_some(missing)}{hint}"
        )

    def read(self, ids: Sequence[str]) -> Tokens:
        """The tokens of some clips, in this order."""
        file, row = np.array([self.place[i] for i in ids]).T
        out = {}
        back = np.argsort(np.argsort(file, kind="stable"), kind="stable")
        for name in self.files[0].arrays:
            parts = [
                np.asarray(self.files[k].arrays[name][row[file == k]])
                for k in np.unique(file)
            ]
            out[name] = np.concatenate(parts)[back]
        return as_tokens(str(self.folder), out, len(ids))


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text("utf-8"))
    except OSError:
        raise InputError(
            f"{path}: there is no such file; it says what the tokens are, as JSON: "
            f"{', '.join(REQUIRED)}"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error})") from None
    if not isinstance(facts, dict):
        raise InputError(f"{path} must hold an object with {', '.join(REQUIRED)}")
    for key in facts:
        if key not in REQUIRED + OPTIONAL:
            raise unknown_name(f"key in {path}", key, REQUIRED + OPTIONAL)
    if lacking := [key for key in REQUIRED if key not in facts]:
        raise InputError(f"{path} has no {', no '.join(lacking)}")
    if not all(isinstance(facts.get(k, ""), str) for k in ("name", *OPTIONAL)):
        raise InputError(f"name, description and licence in {path} must be words")
    step = facts["seconds_per_step"]
    if not isinstance(step, int | float) or not 0 < step < math.inf:
        raise InputError(f"seconds_per_step in {path} must be a number > 0, not {step}")
    check_edges(str(path), facts["frequency_edges_hz"])
    return facts


def _common_shape(files: Sequence[TokenFile]) -> tuple[int, int, int]:
    """(T, F, D), once all files agree."""
    first = files[0]
    for file in files:
        for name in {*first.arrays, *file.arrays}:
            shapes = [
                list(f.arrays[name].shape[1:]) if name in f.arrays else "absent"
                for f in (first, file)
            ]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f"{name} of a clip is {shapes[0]} in {first.path} and {shapes[1]} "
                    f"in {file.path}: all files must be alike"
                )
    shape = first.arrays["patches"].shape[1:]
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"{first.path} has patches of shape {list(first.arrays['patches'].shape)}: "
            "[clips, time, bands, features] is wanted, or [clips, time, features]"
        )
    return (shape[0], shape[1] if len(shape) == 3 else 1, shape[-1])


def _places(files: Sequence[TokenFile]) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    twice: dict[str, int] = {}
    for k, file in enumerate(files):
        for row, clip in enumerate(file.ids):
            if clip in places:
                twice.setdefault(clip, k)
            places[clip] = k, row
    if twice:
        again = files[next(iter(twice.values()))].path
        raise InputError(
            f"{again} has tokens of {_some(list(twice))} again: {len(twice)} clips are "
            "there twice"
        )
    return places


def _some(ids: Sequence[str]) -> str:
    named = ", ".join(repr(i) for i in ids[:SHOWN])
    return named + (", ..." if len(ids) > SHOWN else "")


# What is in the files


def _digest(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
    """SHA-256 over all files, whatever their names.

    A file that looks the same as when it was last read is not read for it again.
    """
    place = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    memory = cache_dir("tokens") / f"exported-{place}.json"
    try:
        known = json.loads(memory.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    stats = {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in paths}
    new = [p for p, stat in stats.items() if known.get(p, [])[:2] != stat]
    found = {p: known[p][2] for p in stats if p not in new}
    with progress(f"reading {folder}", len(new), unit="files") as advance:
        for path in new:
            with open(path, "rb") as file:
                found[path] = hashlib.file_digest(file, "sha256").hexdigest()
            advance(1)
    if new:
        write_atomically(memory, json.dumps({p: [*stats[p], found[p]] for p in stats}))
    return hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()
