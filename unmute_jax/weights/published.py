"""Finding published weights: in the cache, or on the network."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import (
    cache_dir,
    download,
    fetch_from_hub,
    find_in_hub_cache,
    locked,
)
from unmute_jax.weights.published_list import PUBLISHED, Published

_log = logging.getLogger(__name__)

_HUB = "https://huggingface.co"
_HUB_FILE = re.compile(rf"{_HUB}/(datasets/)?([^/]+/[^/]+)/resolve/main/(.+)")

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
    if entry is None or _cached(entry):
        return True
    return any(all(file.find() for file in files) for files in _on_hub(entry))


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


@dataclasses.dataclass(frozen=True)
class _HubFile:
    """A file in a repository on Hugging Face."""

    repo: str
    name: str
    repo_type: str = "model"

    def find(self) -> pathlib.Path | None:
        """Returns the file in the Hugging Face cache, or None."""
        return find_in_hub_cache(self.repo, self.name, repo_type=self.repo_type)

    def fetch(self) -> pathlib.Path:
        """Returns the file, downloaded unless it is in the Hugging Face cache."""
        return fetch_from_hub(self.repo, self.name, repo_type=self.repo_type)


def _on_hub(entry: Published) -> list[list[_HubFile]]:
    """Returns, per place on Hugging Face that has the set, its files, weights last."""
    places: list[list[_HubFile]] = []
    if entry.hub:
        names = ("config.json", "model.safetensors")
        places.append([_HubFile(entry.hub, name) for name in names])
    if entry.url and (parts := _HUB_FILE.fullmatch(entry.url)):
        places.append(
            [_HubFile(parts[2], parts[3], "dataset" if parts[1] else "model")]
        )
    return places


def _fetched(entry: Published, convert: Convert | None) -> pathlib.Path:
    """Returns the file of the set, from the first place that has it.

    Raises:
        InputError: None of them has it; the message says how to get it by hand.
    """
    room = cache_dir("weights")
    places: list[Callable[[], pathlib.Path]] = [
        functools.partial(_fetch_all, entry, files) for files in _on_hub(entry)
    ]
    if entry.url and not _HUB_FILE.fullmatch(entry.url):
        places.append(
            functools.partial(
                download,
                entry.url,
                room,
                checksum=entry.sha256,
                name=f"{entry.name}.pt",
            )
        )
    if not places:
        raise InputError(_by_hand(entry, "it is not on Hugging Face"))
    failures: list[str] = []
    with locked(room / f".{entry.name}.lock"):
        if found := _cached(entry):
            return found
        note = f"; {entry.note}" if entry.note else ""
        _log.warning("%s: licence %s%s", entry.name, entry.licence, note)
        for fetch in places:
            try:
                file = fetch()
            except InputError as error:
                failures.append(str(error))
                continue
            _compare(entry, file)
            return _converted(entry, file, convert) if convert else file
    raise InputError(_by_hand(entry, f"fetching failed: {'; '.join(failures)}"))


def _fetch_all(entry: Published, files: list[_HubFile]) -> pathlib.Path:
    """Fetches the files of one place and returns the last one, the weights."""
    path = [file.fetch() for file in files][-1]
    if entry.sha256 and len(files) == 1 and _sha256(path) != entry.sha256:
        raise InputError(f"{entry.url} is another file than the published one")
    return path


def _compare(entry: Published, file: pathlib.Path) -> None:
    """Warns of a file that is not the one that others have seen."""
    size, wanted = file.stat().st_size / 1e6, entry.megabytes
    if wanted is not None and abs(size - wanted) > 0.02 * wanted:
        _warn(entry, f"{size:.1f} MB", f"{wanted} MB")
    if entry.hub_sha256 and file.suffix == ".safetensors":
        digest = _sha256(file)
        if digest != entry.hub_sha256:
            _warn(entry, f"SHA-256 {digest}", entry.hub_sha256)


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _warn(entry: Published, found: str, known: str) -> None:
    replaced = "the authors may have replaced it"
    _log.warning("%s has %s, not %s: %s", entry.name, found, known, replaced)


def _converted(entry: Published, file: pathlib.Path, convert: Convert) -> pathlib.Path:
    """Returns the converted file, which replaces a file of our own cache.

    A file of the Hugging Face cache stays there: other programs may use it.
    """
    room = cache_dir("weights")
    output = room / f"{entry.name}.safetensors"
    try:
        convert(file, output)
    except OSError as error:
        _log.warning("%s is not converted: %s", file, error.strerror)
        return file
    if file.parent == room:
        file.unlink()
    return output


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
