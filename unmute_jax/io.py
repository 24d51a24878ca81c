"""Downloads, cache folders, file locks and files that are written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pathlib
import re
import sys
import tempfile
import zipfile
from collections.abc import Generator
from typing import Any, BinaryIO

from unmute_jax.console import size_text
from unmute_jax.errors import InputError, one_line

CACHE_VARIABLE = "UNMUTE_CACHE"
TOKENS_VARIABLE = "UNMUTE_TOKENS"
# Seconds that a server may be silent.
_TIMEOUT = 10.0
_log = logging.getLogger(__name__)


# Folders of caches.


def cache_dir(kind: str) -> pathlib.Path:
    """Returns the folder of one kind of cache, which need not exist yet.

    The environment variable `UNMUTE_CACHE` names the folder of all caches. By default
    it is `unmute_jax` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Args:
        kind: "datasets", "tokens", "weights", "cells" or "compiled".

    Raises:
        InputError: `UNMUTE_CACHE` holds a URL.
    """
    base = os.environ.get(CACHE_VARIABLE)
    if base and "://" in base:
        raise InputError(
            f"{CACHE_VARIABLE}={base}: must be a folder; only {TOKENS_VARIABLE} may be "
            "a URL"
        )
    if base:
        return pathlib.Path(base).expanduser() / kind
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return pathlib.Path(home).expanduser() / "unmute_jax" / kind


def token_root() -> str | pathlib.Path:
    """Returns the place of all token stores, which need the most space by far.

    The environment variable `UNMUTE_TOKENS` names it: a folder or a URL such as
    "gs://bucket/folder". By default it is `cache_dir("tokens")`.
    """
    root = os.environ.get(TOKENS_VARIABLE)
    if not root:
        return cache_dir("tokens")
    return root if "://" in root else pathlib.Path(root).expanduser()


# Downloads.


def find_in_hub_cache(
    repo: str, file: str, *, revision: str | None = None, repo_type: str = "model"
) -> pathlib.Path | None:
    """Returns a file of the Hugging Face cache, or None where it is not cached.

    Args:
        repo: Repository, "OWNER/NAME".
        file: Path of the file in the repository.
        revision: Branch, tag or commit; by default "main".
        repo_type: "model" or "dataset".
    """
    import huggingface_hub  # Its modules take long to import, and few runs need them.

    path = huggingface_hub.try_to_load_from_cache(
        repo, file, revision=revision, repo_type=repo_type
    )
    return pathlib.Path(path) if isinstance(path, str) else None


def fetch_from_hub(
    repo: str, file: str, *, revision: str | None = None, repo_type: str = "model"
) -> pathlib.Path:
    """Returns a file of a Hugging Face repository, downloaded unless it is cached.

    The file stays in the cache that all programs of Hugging Face share. Their
    environment variables apply: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.

    Args:
        repo: Repository, "OWNER/NAME".
        file: Path of the file in the repository.
        revision: Branch, tag or commit; by default "main".
        repo_type: "model" or "dataset".

    Raises:
        InputError: The file cannot be downloaded, or arrived damaged.
    """
    import huggingface_hub
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    endpoint = os.environ.get("HF_ENDPOINT")
    if cached := find_in_hub_cache(repo, file, revision=revision, repo_type=repo_type):
        return cached
    url = huggingface_hub.hf_hub_url(
        repo, file, revision=revision, repo_type=repo_type, endpoint=endpoint
    )
    try:
        # `hf_hub_download` tries for half a minute before it reports that the server
        # cannot be reached; this request tries once.
        about = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
        _announce(url, about.size)
        downloaded = huggingface_hub.hf_hub_download(
            repo, file, revision=revision, repo_type=repo_type, endpoint=endpoint
        )
    except (OSError, HTTPError) as error:
        raise InputError(f"cannot download {url}: {_hub_reason(error)}") from error
    path = pathlib.Path(downloaded)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    # The server's tag of a large file is its SHA-256.
    if re.fullmatch("[0-9a-f]{64}", about.etag or "") and digest != about.etag:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise InputError(f"cannot download {url}: it arrived damaged; try again")
    return path


def _hub_reason(error: Exception) -> str:
    """Says in one line why the hub gave no file, and what helps."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and the file is not in the cache"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "there is no such repository, or it is not open to all (`hf auth login` "
            "or HF_TOKEN identifies you)"
        )
    if isinstance(error, errors.HfHubHTTPError):
        response = error.response
        return f"the server answers {response.status_code} {response.reason_phrase}"
    return f"{one_line(str(error))} (check the network connection)"


def download(
    url: str,
    folder: pathlib.Path,
    *,
    checksum: str | None = None,
    name: str | None = None,
) -> pathlib.Path:
    """Returns a file from a web server, downloaded unless `folder` already has it.

    The file appears only when it is complete. A file whose name ends in ".zip" must be
    a zip archive, as servers may answer with a page instead.

    Args:
        url: Address of the file.
        folder: Folder that the file is put into.
        checksum: SHA-256 of the file as hexadecimal digits, or "md5:" and its MD5;
            None where it is not known.
        name: Name of the file in `folder`; by default the last part of `url`.

    Raises:
        InputError: The file cannot be downloaded, or is not the expected one.
    """
    import pooch

    path = folder / (name or url.rpartition("/")[2])
    if path.exists():
        return path
    _announce(url, None)
    # It would print what `_announce` prints.
    pooch.get_logger().setLevel(logging.WARNING)
    # Pooch declares the parameters of its downloaders under other names.
    client: Any = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=_TIMEOUT
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, checksum, path.name, folder, downloader=client)
        _share(path)
    except (OSError, ValueError) as error:
        if (response := getattr(error, "response", None)) is not None:
            response.close()  # Pooch leaves the connection open.
        raise InputError(f"cannot download {url}: {_web_reason(error)}") from error
    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        path.unlink()
        raise InputError(f"cannot download {url}: what arrived is no zip archive")
    return path


def _web_reason(error: Exception) -> str:
    """Says in one line why a server gave no file, and what helps."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return (
            f"the server answers {error.response.status_code} {error.response.reason}"
        )
    if isinstance(error, requests.RequestException):
        return f"{one_line(str(error), 200)} (check the network connection)"
    # A checksum that differs, or a full disk.
    return one_line(str(error))


def _announce(url: str, size: int | None) -> None:
    of_size = "" if size is None else f" ({size_text(size)})"
    _log.warning("downloading %s%s", url, of_size)


# Files.


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Generator[None]:
    """Lets one process at a time enter; the others log that they wait.

    Args:
        path: Lock file, which remains.
    """
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        _log.warning("waiting for another process, which holds %s", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file that appears under its name only when it is complete.

    Args:
        path: Name of the file.
        content: Its content; text is written as UTF-8.
    """
    with writing(path) as out:
        out.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Opens a temporary file beside `path` that is renamed to `path` on success.

    Args:
        path: Name of the file.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id would not do as a name: containers that share a disk have the same.
    handle, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    temporary = pathlib.Path(name)
    try:
        with open(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _share(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _share(path: pathlib.Path) -> None:
    """Lets those who may read the folder of a new file, private at first, read it."""
    path.chmod(0o200 | path.parent.stat().st_mode & 0o444)
