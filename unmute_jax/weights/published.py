"""Finding published weights: in the cache, or on the network."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import pathlib
import shutil
import urllib.error
import urllib.request

from unmute_jax.caches import cache_dir
from unmute_jax.errors import InputError
from unmute_jax.weights.published_list import PUBLISHED, Published

_log = logging.getLogger(__name__)

# Hugging Face's own variable for mirrors.
ENDPOINT_VARIABLE = "HF_ENDPOINT"
_HUB = "https://huggingface.co"
_TIMEOUT = 10.0


def find_weights(encoder: str, source: str | os.PathLike[str] | None) -> pathlib.Path:
    """The file that `source` means.

    Args:
        encoder: Registry name.
        source: A path, or the name of a published set; None, the encoder's default.

    Returns:
        The path itself, or the file of a published set in the cache: fetched where it
        is missing there.

    Raises:
        InputError: The published set is not in the cache and cannot be fetched; says
            what to fetch by hand.
    """
    for entry in PUBLISHED:
        named = encoder in entry.encoders and str(source) == entry.name
        is_default = source is None and entry.default_of == encoder
        if is_default or (named and not pathlib.Path(entry.name).exists()):
            return _cached(entry) or _fetched(entry)
    if source is None:
        raise InputError(f"encoder {encoder!r} has no published default: name a file")
    return pathlib.Path(source)


def _cached(entry: Published) -> pathlib.Path | None:
    room = cache_dir("weights")
    names = [f"{entry.name}/model.safetensors", entry.drive_name, f"{entry.name}.pt"]
    files = [room / name for name in names if name]
    return next((file for file in files if file.is_file()), None)


def _fetched(entry: Published) -> pathlib.Path:
    """The file of the set from the first place that gives it."""
    room, failures = cache_dir("weights"), []
    size = f"{entry.megabytes} MB, licence {entry.licence}"
    for place, files in _places(entry).items():
        _log.warning("fetching %s (%s) into %s", place, size, room)
        if entry.note:
            _log.warning("%s: %s", entry.name, entry.note)
        try:
            for url, target in files.items():
                fetch(url, target, sha256=entry.sha256 if place == entry.url else None)
            return list(files.values())[-1]
        except (OSError, http.client.HTTPException) as error:
            failures.append(str(getattr(error, "reason", None) or error))
    tried = f"fetching failed: {'; '.join(failures)}"
    raise InputError(
        _by_hand(entry, tried if failures else "it is not on Hugging Face")
    )


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
    room = cache_dir("weights")
    file = room / (entry.drive_name or f"{entry.name}.pt")
    ways = []
    if entry.hub:
        ways.append(
            f"model.safetensors and config.json from {_HUB}/{entry.hub} into "
            f"{room / entry.name}"
        )
    if entry.url:
        ways.append(f"{entry.url} as {file}")
    if entry.drive_id:
        kind = "drive/folders/" if entry.drive_is_folder else "uc?id="
        ways.append(f"https://drive.google.com/{kind}{entry.drive_id} as {file}")
    if entry.page:
        ways.append(f"{entry.name}.pt, linked on {entry.page}, as {file}")
    return (
        f"the weights {entry.name} are not in the cache and {why}; download "
        f"{', or '.join(ways)}; or pass a file as source; or, without any weights, "
        'weights="untrained" (configs/quickstart.py)'
    )


def fetch(url: str, target: pathlib.Path, *, sha256: str | None = None) -> None:
    """Downloads `url` to `target`; takes up where an earlier try was cut off.

    The bytes go to `target` + ".part", which becomes `target` when it is whole.

    Raises:
        OSError: The server cannot be reached or refuses (`urllib.error.URLError`), or
            the connection broke, or the bytes are not those of `sha256`.
    """
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        # Nothing lies behind what we have, so it is not the beginning of this file.
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            return fetch(url, target, sha256=sha256)
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        left = response.headers["Content-Length"]
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if resumed else "wb") as out:
            begin = out.tell()
            shutil.copyfileobj(response, out)
            got = out.tell() - begin
    if left is not None and got != int(left):
        raise OSError(f"the connection broke {int(left) - got} bytes before the end")
    if sha256 is not None:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise OSError(f"{url} is another file than the published one")
    part.replace(target)
