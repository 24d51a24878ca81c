"""Finds published weights in the caches, or downloads them."""

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

from unmute_jax.downloads import download, fetch_from_hub, find_in_hub_cache
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import cache_dir
from unmute_jax.locks import locked
from unmute_jax.weights.published_list import PUBLISHED, PublishedFile

_log = logging.getLogger(__name__)

_HUB = "https://huggingface.co"
_HUB_FILE = re.compile(rf"{_HUB}/(datasets/)?([^/]+/[^/]+)/resolve/main/(.+)")

# Function that converts the first file and writes the result as the second one.
Convert = Callable[[pathlib.Path, pathlib.Path], object]


def find_weights(
    encoder: str,
    source: str | os.PathLike[str] | None,
    convert: Convert | None = None,
) -> pathlib.Path:
    """Returns the weights file that `source` stands for.

    Published weights are downloaded if no cache has them.

    Args:
        encoder: Registry name of the encoder.
        source: A path, or the name of published weights; None for the encoder's
            default.
        convert: Function that converts a downloaded file, whose output is then cached.

    Returns:
        The path itself, or the path of the published weights in a cache.

    Raises:
        InputError: The published weights can be neither found nor downloaded. The
            message says what to download by hand.
    """
    if published := _published(encoder, source):
        return _cached(published) or _download(published, convert)
    if source is None:
        raise InputError(f"encoder {encoder!r} has no published default: name a file")
    names = [published.name for published in PUBLISHED if encoder in published.encoders]
    mistyped = difflib.get_close_matches(str(source), names, cutoff=0.8)
    if mistyped and not pathlib.Path(source).exists():
        raise unknown_name(f"weights of encoder {encoder!r}", str(source), names)
    return pathlib.Path(source)


def needs_download(encoder: str, source: str | os.PathLike[str] | None) -> bool:
    """Whether `find_weights` with these arguments would download anything."""
    published = _published(encoder, source)
    if published is None or _cached(published):
        return False
    return not any(all(f.find() for f in files) for files in _on_hub(published))


def listing(encoder: str) -> Iterator[str]:
    """Yields lines that list what is published for an encoder.

    Args:
        encoder: Registry name of the encoder, without the "+".
    """
    for published in PUBLISHED:
        if encoder not in published.encoders:
            continue
        default = f" (default of {published.default_of})" * bool(published.default_of)
        size = f"{published.megabytes} MB, " if published.megabytes else ""
        yield f"  {published.name}{default}: {size}{published.licence}"
        if published.note:
            yield f"    note: {published.note}"
        yield f"    {', '.join(_addresses(published))}"
        if published.hub_sha256:
            yield f"    SHA-256 of model.safetensors: {published.hub_sha256}"
        if published.url and published.sha256:
            name = published.url.rpartition("/")[2]
            yield f"    SHA-256 of {name}: {published.sha256}"


def _published(
    encoder: str, source: str | os.PathLike[str] | None
) -> PublishedFile | None:
    """The published weights that `source` names, or None if it is a path."""
    for published in PUBLISHED:
        is_named = encoder in published.encoders and str(source) == published.name
        is_default = source is None and published.default_of == encoder
        if is_default or (is_named and not pathlib.Path(published.name).exists()):
            return published
    return None


def _cached(published: PublishedFile) -> pathlib.Path | None:
    names = [
        f"{published.name}.safetensors",
        f"{published.name}/model.safetensors",
        published.drive_name,
        f"{published.name}.pt",
    ]
    files = [cache_dir("weights") / name for name in names if name]
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


def _on_hub(published: PublishedFile) -> list[list[_HubFile]]:
    """The files in each repository that has the weights, which come last."""
    places: list[list[_HubFile]] = []
    if published.hub:
        names = ("config.json", "model.safetensors")
        places.append([_HubFile(published.hub, name) for name in names])
    if published.url and (parts := _HUB_FILE.fullmatch(published.url)):
        repo_type = "dataset" if parts[1] else "model"
        places.append([_HubFile(parts[2], parts[3], repo_type)])
    return places


def _download(published: PublishedFile, convert: Convert | None) -> pathlib.Path:
    """Downloads published weights from the first place that has them.

    Raises:
        InputError: None of them has it; the message says how to get it by hand.
    """
    folder = cache_dir("weights")
    places: list[Callable[[], pathlib.Path]] = [
        functools.partial(_fetch_all, published, files) for files in _on_hub(published)
    ]
    url, name = published.url, f"{published.name}.pt"
    if url and not _HUB_FILE.fullmatch(url):
        checksum = published.sha256
        places.append(lambda: download(url, folder, checksum=checksum, name=name))
    if not places:
        raise InputError(_by_hand(published, "it is not on Hugging Face"))
    failures: list[str] = []
    lock = folder / f".{published.name}.lock"
    with locked(lock, f"downloading the weights of {published.name}"):
        if cached := _cached(published):
            return cached
        note = f"; {published.note}" if published.note else ""
        _log.warning("%s: licence %s%s", published.name, published.licence, note)
        for fetch in places:
            try:
                file = fetch()
            except InputError as error:
                failures.append(str(error))
                continue
            _compare(published, file)
            return _converted(published, file, convert) if convert else file
    raise InputError(_by_hand(published, f"fetching failed: {'; '.join(failures)}"))


def _fetch_all(published: PublishedFile, files: list[_HubFile]) -> pathlib.Path:
    """Fetches the files of one repository and returns the last one, the weights."""
    path = [file.fetch() for file in files][-1]
    is_url = len(files) == 1
    if published.sha256 and is_url and _sha256(path) != published.sha256:
        raise InputError(f"{published.url} is another file than the published one")
    return path


def _compare(published: PublishedFile, file: pathlib.Path) -> None:
    """Warns if a file has another size or hash than the list says."""
    is_of_hub = file.suffix == ".safetensors"
    if published.sha256 and not is_of_hub:
        return  # It was refused unless it has this hash.
    size, expected = file.stat().st_size / 1e6, published.megabytes
    if expected is not None and abs(size - expected) > 0.02 * expected:
        _warn(published, f"{size:.1f} MB", f"{expected} MB")
    if published.hub_sha256 and is_of_hub:
        digest = _sha256(file)
        if digest != published.hub_sha256:
            _warn(published, f"SHA-256 {digest}", published.hub_sha256)


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _warn(published: PublishedFile, actual: str, expected: str) -> None:
    replaced = "the authors may have replaced it"
    _log.warning("%s has %s, not %s: %s", published.name, actual, expected, replaced)


def _converted(
    published: PublishedFile, file: pathlib.Path, convert: Convert
) -> pathlib.Path:
    """Converts a file; the result replaces a file of our own cache.

    A file of the Hugging Face cache stays there, as other programs may use it.
    """
    folder = cache_dir("weights")
    output = folder / f"{published.name}.safetensors"
    try:
        convert(file, output)
    except OSError as error:
        _log.warning("%s is not converted: %s", file, error.strerror)
        return file
    if file.parent == folder:
        file.unlink()
    return output


def _by_hand(published: PublishedFile, why: str) -> str:
    return (
        f"the weights {published.name} are not in the cache and {why}; download "
        f"{', or '.join(_ways(published))}; or pass a file as source; or, without any "
        'weights, weights="untrained" (configs/quickstart.py)'
    )


def _ways(published: PublishedFile) -> list[str]:
    """The ways to download by hand: what, from where, to which path."""
    folder = cache_dir("weights")
    file = folder / (published.drive_name or f"{published.name}.pt")
    addresses, ways = _addresses(published), list[str]()
    if published.hub:
        from_hub = f"model.safetensors and config.json from {addresses.pop(0)}"
        ways.append(f"{from_hub} into {folder / published.name}")
    return ways + [f"{address} as {file}" for address in addresses]


def _addresses(published: PublishedFile) -> list[str]:
    """The addresses for people, that of `hub` first."""
    addresses: list[str] = []
    if published.hub:
        addresses.append(f"{_HUB}/{published.hub}")
    if published.url:
        addresses.append(published.url)
    if published.drive_id:
        kind = "drive/folders/" if published.drive_is_folder else "uc?id="
        addresses.append(f"https://drive.google.com/{kind}{published.drive_id}")
    if published.page:
        addresses.append(f"{published.name}.pt, linked on {published.page}")
    return addresses
