"""Reads tokens that other code has exported: `--config.encoder=tokens:/path`.

The folder holds `tokens.json`, which describes the tokens,

    {"name": "my model, layer 9", "seconds_per_step": 0.16,
     "frequency_edges_hz": [[0, 8000]]}

(optionally with "description" and "licence"), and any number of files, in sub-folders
or not, each with some of the clips:

    *.npz            patches [n, T, F, D] or [n, T, D], floating point
                     ids [n], strings: the ids of the clips in the data set
                     cls [n, D] and mask [n, T] of bool, both optional
    *.safetensors    the same arrays; the ids as metadata {"ids": "[...]"}, a JSON list

What `unmute embed --export` writes has format version 2: `tokens.json` also holds
"format", "files" (the SHA-256 of every file by its name) and "digest", the SHA-256 of
all of this. They are compared, so that a damaged, missing or additional file is
noticed. Files without them are read as well: of an npz file, the checksums of the zip
archive are compared instead.

In `tokens:/path/{dataset}` the placeholder stands for the name of the data set, so that
the data sets of a grid can share the name of the encoder.

`dataset.source_of(split)` yields clips with `id` and `waveform`. Labels come from the
data set. The order of the clips does not matter, and additional clips are ignored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmute_jax.console import progress
from unmute_jax.encoders.base import Geometry, TokenSource
from unmute_jax.encoders.exported_files import (
    SUFFIXES,
    TokenFile,
    check_whole,
    open_file,
)
from unmute_jax.encoders.token_arrays import as_tokens, check_edges
from unmute_jax.errors import InputError, one_line, unknown_name
from unmute_jax.io import cache_dir, parse_json, write_atomically
from unmute_jax.tokens import Tokens
from unmute_jax.weights.digests import sha256_of_json

FACTS = "tokens.json"
REQUIRED = ("name", "seconds_per_step", "frequency_edges_hz")
OPTIONAL = ("description", "licence")
# What version 2 adds; files of other programs and of the first version lack it.
SEAL, FORMAT = ("format", "files", "digest"), 2
# More than any encoder has, so that no sum of steps overflows.
_LONGEST_STEP = 1e6
# How many ids an error message lists.
LISTED_IDS = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportedTokens(TokenSource):
    """The tokens in one folder.

    Attributes:
        folder: The folder.
        sha256: A digest of all files.
        stated_geometry: The geometry that `tokens.json` states.
        files: The files, in the order of their names.
        shape: (T, F, D).
        location: File number and row of each clip, by id.
    """

    folder: pathlib.Path
    sha256: str
    stated_geometry: Geometry
    files: tuple[TokenFile, ...] = dataclasses.field(repr=False)
    shape: tuple[int, int, int]
    location: dict[str, tuple[int, int]] = dataclasses.field(repr=False)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> ExportedTokens:
        """Opens a folder; the patches are read later.

        Raises:
            InputError: `tokens.json` or an array is missing or wrong, or a clip occurs
                twice.
        """
        folder = pathlib.Path(folder).expanduser().absolute()
        facts = read_facts(folder)
        paths = sorted(p for s in SUFFIXES for p in folder.rglob(f"[!.]*{s}"))
        if not paths:
            raise InputError(f"{folder} holds no {' and no '.join(SUFFIXES)} files")
        digests = _digests(folder, paths)
        if "files" in facts:
            _check_files(folder, facts["files"], digests)
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
            sha256=hashlib.sha256(
                "".join(sorted(digests.values())).encode()
            ).hexdigest(),
            stated_geometry=Geometry(float(facts["seconds_per_step"]), edges),
            files=files,
            shape=shape,
            location=_locations(files),
        )

    @property
    def num_features(self) -> int:
        """D of the patches."""
        return self.shape[2]

    @property
    def geometry(self) -> Geometry:
        """The geometry that `tokens.json` states."""
        return self.stated_geometry

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the patches, which are the same for clips of any length."""
        return self.shape[0], self.shape[1]

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens: name, content and geometry."""
        return {
            "name": self.name,
            "weights": f"exported tokens, sha256:{self.sha256}",
            "geometry": dataclasses.asdict(self.geometry),
        }

    def check_clips(self, ids: Sequence[str], what: str) -> None:
        """Checks that the folder has all clips.

        Args:
            ids: Ids of the clips.
            what: The data set and split of the clips, for the error message.

        Raises:
            InputError: Clips are missing. The message lists some of them, and some of
                the additional clips in the folder.
        """
        missing = [i for i in ids if i not in self.location]
        if not missing:
            return
        wanted = set(ids)
        others = [i for i in self.location if i not in wanted]
        hint = f"; clips that are not in {what}: {_some(others)}" if others else ""
        raise InputError(
            f"{self.folder} has no tokens of {len(missing)} of the {len(ids)} clips of "
            f"{what}: {_some(missing)}{hint}"
        )

    def read(self, ids: Sequence[str]) -> Tokens:
        """Reads the tokens of the clips `ids`, in this order."""
        file, row = np.array([self.location[i] for i in ids]).T
        out = {}
        back = np.argsort(np.argsort(file, kind="stable"), kind="stable")
        for name in self.files[0].arrays:
            parts = [
                np.asarray(self.files[k].arrays[name][row[file == k]])
                for k in np.unique(file)
            ]
            out[name] = np.concatenate(parts)[back]
        return as_tokens(str(self.folder), out, len(ids))


def sealed(facts: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Returns the content of `tokens.json` with the digests of all files.

    Args:
        facts: Description of the tokens.
        files: SHA-256 of every file by its name in the folder.
    """
    content = {**facts, "format": FORMAT, "files": dict(files)}
    return {**content, "digest": sha256_of_json(content)}


def read_facts(folder: pathlib.Path) -> dict[str, Any]:
    """Reads and checks `tokens.json`.

    Args:
        folder: Folder of exported tokens.

    Raises:
        InputError: The file is missing, wrong, damaged, or of a newer version.
    """
    path = folder / FACTS
    try:
        facts = parse_json(path.read_bytes())
    except OSError:
        raise InputError(
            f"{path}: there is no such file; it must describe the tokens as JSON: "
            f"{', '.join(REQUIRED)}"
        ) from None
    except ValueError as error:
        reason = one_line(str(error), 200)
        raise InputError(f"{path} is not valid JSON ({reason})") from None
    if not isinstance(facts, dict):
        raise InputError(f"{path} must hold an object with {', '.join(REQUIRED)}")
    _check_seal(path, facts)
    for key in facts:
        if key not in REQUIRED + OPTIONAL + SEAL:
            raise unknown_name("key", one_line(key, 80), REQUIRED + OPTIONAL, path)
    if missing := [key for key in REQUIRED if key not in facts]:
        raise InputError(f"{path} has no {', no '.join(missing)}")
    if not all(isinstance(facts.get(k, ""), str) for k in ("name", *OPTIONAL)):
        raise InputError(f"name, description and licence in {path} must be strings")
    step = facts["seconds_per_step"]
    if type(step) not in (int, float) or not 0 < step <= _LONGEST_STEP:
        raise InputError(
            f"seconds_per_step in {path} must be a number > 0, not {step!r:.60}"
        )
    check_edges(str(path), facts["frequency_edges_hz"])
    return facts


def _check_seal(path: pathlib.Path, facts: Mapping[str, Any]) -> None:
    """Checks the version and the digests of `tokens.json`, if it has them."""
    if not any(key in facts for key in SEAL):
        return
    version, files = facts.get("format"), facts.get("files")
    if type(version) is int and version > FORMAT:
        raise InputError(f"{path} was written by a newer version: update unmute-jax")
    are_digests = isinstance(files, dict) and all(
        isinstance(x, str) and re.fullmatch("[0-9a-f]{64}", x) for x in files.values()
    )
    content = {key: value for key, value in facts.items() if key != "digest"}
    if (
        version != FORMAT
        or not are_digests
        or facts.get("digest") != sha256_of_json(content)
    ):
        raise InputError(
            f"{path} was altered or damaged after it was exported: delete it and "
            "export again"
        )


def _check_files(
    folder: pathlib.Path, wanted: Mapping[str, str], found: Mapping[str, str]
) -> None:
    """Compares the digests of files with those that `tokens.json` states."""
    names = {pathlib.Path(p).relative_to(folder).as_posix(): p for p in found}
    for name in sorted({*wanted, *names}):
        if name not in names:
            raise InputError(
                f"{folder} lacks {one_line(name, 80)}, which was exported: export again"
            )
        if name not in wanted:
            raise InputError(
                f"{names[name]} is not one of the files that {FACTS} lists: remove it"
            )
        if wanted[name] != found[names[name]]:
            raise InputError(
                f"{names[name]} was altered or damaged after it was exported: delete "
                "it and export again"
            )


def _common_shape(files: Sequence[TokenFile]) -> tuple[int, int, int]:
    """(T, F, D), which must be the same in all files."""
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
            "it must be [clips, time, bands, features] or [clips, time, features]"
        )
    return (shape[0], shape[1] if len(shape) == 3 else 1, shape[-1])


def _locations(files: Sequence[TokenFile]) -> dict[str, tuple[int, int]]:
    """File number and row of each clip."""
    locations: dict[str, tuple[int, int]] = {}
    repeated: dict[str, int] = {}
    for k, file in enumerate(files):
        for row, clip in enumerate(file.ids):
            if clip in locations:
                repeated.setdefault(clip, k)
            locations[clip] = k, row
    if repeated:
        path = files[next(iter(repeated.values()))].path
        raise InputError(
            f"{path} has tokens of {_some(list(repeated))} again: {len(repeated)} "
            "clips occur twice"
        )
    return locations


def _some(ids: Sequence[str]) -> str:
    listed = ", ".join(repr(one_line(i, 60)) for i in ids[:LISTED_IDS])
    return listed + (", ..." if len(ids) > LISTED_IDS else "")


# Digests of the files


def _digests(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> dict[str, str]:
    """Returns the SHA-256 of every file by its path.

    They are cached. A file is read again only if its size or time of modification has
    changed; then the checksums inside it are compared as well.
    """
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    cache = cache_dir("tokens") / f"exported-{digest}.json"
    try:
        known = dict(parse_json(cache.read_bytes()))
    except (OSError, ValueError, TypeError):
        known = {}
    known = {p: x for p, x in known.items() if isinstance(x, list) and len(x) == 3}
    stats = {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in paths}
    new = [p for p, stat in stats.items() if known.get(p, [])[:2] != stat]
    digests = {p: str(known[p][2]) for p in stats if p not in new}
    with progress(f"reading {folder}", len(new), unit="files") as advance:
        for path in new:
            check_whole(pathlib.Path(path))
            digests[path] = sha256_of_file(pathlib.Path(path))
            advance(1)
    if new:
        entries = {p: [*stats[p], digests[p]] for p in stats}
        write_atomically(cache, json.dumps(entries))
    return digests


def sha256_of_file(path: pathlib.Path) -> str:
    """Returns the SHA-256 of the bytes of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
