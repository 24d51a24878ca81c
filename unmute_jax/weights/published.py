"""Finding published weights: in the cache, or on the network."""

from __future__ import annotations

import difflib
import hashlib
import http.client
import logging
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import cache_dir, fetch, locked
from unmute_jax.weights.published_list import PUBLISHED, Published

_log = logging.getLogger(__name__)

# Hugging Face's own variable for mirrors.
ENDPOINT_VARIABLE = "HF_ENDPOINT"
_HUB = "https://huggingface.co"

# From the file to convert to the converted one.
Convert = Callable[[pathlib.Path, pathlib.Path], object]


def find_weights(
    encoder: str,
    source: str | os.PathLike[str] | None,
    convert: Convert | None = None,
) -> pathlib.Path:
    """The file that `source` means.

    Args:
        encoder: Registry name.
        source: A path, or the name of a published set; None, the encoder's default.
        convert: Converts what had to be fetched; what it writes is kept instead.

    Returns:
        The path itself, or the file of a published set in the cache: fetched where it
        is missing there.

    Raises:
        InputError: The published set is not in the cache and cannot be fetched; says
            what to fetch by hand.
    """
    if entry := _meant(encoder, source):
        return _cached(entry) or _fetched(entry, convert)
    if source is None:
        raise InputError(f"encoder {encoder!r} has no published default: name a file")
    names = [entry.name for entry in PUBLISHED if encoder in entry.encoders]
    mistyped = difflib.get_close_matches(str(source), names, cutoff=0.8)
    if mistyped and not pathlib.Path(source).exists():
        raise unknown_name(f"weights of encoder {encoder!r}", str(source), names)
    return pathlib.Path(source)


def is_at_hand(encoder: str, source: str | os.PathLike[str] | None) -> bool:
    """Whether `find_weights` would fetch nothing; its arguments."""
    entry = _meant(encoder, source)
    return entry is None or _cached(entry) is not None


def listing(encoder: str) -> Iterator[str]:
    """What is published for an encoder, in lines for people.

    Args:
        encoder: Registry name without the "+".
    """
    for entry in PUBLISHED:
        if encoder not in entry.encoders:
            continue
        default = f" (default of {entry.default_of})" if entry.default_of else ""
        size = f"{entry.megabytes} MB, " if entry.megabytes else ""
        yield f"  {entry.name}{default}: {size}{entry.licence}"
        if entry.note:
            yield f"    note: {entry.note}"
        yield f"    {', '.join(_addresses(entry))}"


def _meant(encoder: str, source: str | os.PathLike[str] | None) -> Published | None:
    """The published set that `source` names, if it is not a path."""
    for entry in PUBLISHED:
        named = encoder in entry.encoders and str(source) == entry.name
        is_default = source is None and entry.default_of == encoder
        if is_default or (named and not pathlib.Path(entry.name).exists()):
            return entry
    return None


def _cached(entry: Published) -> pathlib.Path | None:
    room = cache_dir("weights")
    names = [
        f"{entry.name}.safetensors",
        f"{entry.name}/model.safetensors",
        entry.drive_name,
        f"{entry.name}.pt",
    ]
    files = [room / name for name in names if name]
    return next((file for file in files if file.is_file()), None)


def _fetched(entry: Published, convert: Convert | None) -> pathlib.Path:
    """The file of the set from the first place that gives it."""
    failures: list[str] = []
    for place, files in _places(entry).items():
        try:
            with locked(cache_dir("weights") / f".{entry.name}.lock"):
                if found := _cached(entry):
                    return found
                file = _fetch_all(entry, place, files)
                return _converted(entry, file, convert) if convert else file
        except (OSError, http.client.HTTPException) as error:
            failures.append(str(getattr(error, "reason", None) or error))
    tried = f"fetching failed: {'; '.join(failures)}"
    raise InputError(
        _by_hand(entry, tried if failures else "it is not on Hugging Face")
    )


def _fetch_all(
    entry: Published, place: str, files: dict[str, pathlib.Path]
) -> pathlib.Path:
    """Fetches the files of a place; the value is the one with the weights."""
    size = f"{entry.megabytes} MB, licence {entry.licence}"
    _log.warning("fetching %s (%s) into %s", place, size, cache_dir("weights"))
    if entry.note:
        _log.warning("%s: %s", entry.name, entry.note)
    for url, target in files.items():
        fetch(url, target, sha256=entry.sha256 if place == entry.url else None)
    file = list(files.values())[-1]
    _compare(entry, file)
    return file


def _compare(entry: Published, file: pathlib.Path) -> None:
    """Warns of a file that is not the one that others have seen."""
    size, wanted = file.stat().st_size / 1e6, entry.megabytes
    if wanted is not None and abs(size - wanted) > 0.02 * wanted:
        _warn(entry, f"{size:.1f} MB", f"{wanted} MB")
    if entry.hub_sha256 and file.suffix == ".safetensors":
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != entry.hub_sha256:
            _warn(entry, f"SHA-256 {found}", entry.hub_sha256)


def _warn(entry: Published, found: str, known: str) -> None:
    replaced = "the authors may have replaced it"
    _log.warning("%s has %s, not %s: %s", entry.name, found, known, replaced)


def _converted(entry: Published, file: pathlib.Path, convert: Convert) -> pathlib.Path:
    """The converted file, which knows the hash of `file` and takes its place."""
    room = cache_dir("weights")
    output = room / f"{entry.name}.safetensors"
    try:
        convert(file, output)
    except OSError as error:
        _log.warning("%s stays as it is: %s", file, error.strerror)
        return file
    if file.parent == room:
        file.unlink()
    else:
        shutil.rmtree(file.parent)
    return output


def _places(entry: Published) -> dict[str, dict[str, pathlib.Path]]:
    """Per place that has the set: address -> file of the cache; the weights last."""
    room, places = cache_dir("weights"), {}
    endpoint = os.environ.get(ENDPOINT_VARIABLE, _HUB).rstrip("/")
    if entry.hub:
        # The config first: a folder with the weights in it is complete.
        places[entry.hub] = {
            f"{endpoint}/{entry.hub}/resolve/main/{file}": room / entry.name / file
            for file in ("config.json", "model.safetensors")
        }
    if entry.url:
        url = entry.url.replace(_HUB, endpoint)
        places[entry.url] = {url: room / f"{entry.name}.pt"}
    return places


def _by_hand(entry: Published, why: str) -> str:
    return (
        f"the weights {entry.name} are not in the cache and {why}; download "
        f"{', or '.join(_ways(entry))}; or pass a file as source; or, without any "
        'weights, weights="untrained" (configs/quickstart.py)'
    )


def _ways(entry: Published) -> list[str]:
    """From where to where the set can be fetched by hand."""
    room = cache_dir("weights")
    file = room / (entry.drive_name or f"{entry.name}.pt")
    addresses, ways = _addresses(entry), list[str]()
    if entry.hub:
        from_hub = f"model.safetensors and config.json from {addresses.pop(0)}"
        ways.append(f"{from_hub} into {room / entry.name}")
    return ways + [f"{address} as {file}" for address in addresses]


def _addresses(entry: Published) -> list[str]:
    """Where people find the set, that of `hub` first."""
    found: list[str] = []
    if entry.hub:
        found.append(f"{_HUB}/{entry.hub}")
    if entry.url:
        found.append(entry.url)
    if entry.drive_id:
        kind = "drive/folders/" if entry.drive_is_folder else "uc?id="
        found.append(f"https://drive.google.com/{kind}{entry.drive_id}")
    if entry.page:
        found.append(f"{entry.name}.pt, linked on {entry.page}")
    return found
