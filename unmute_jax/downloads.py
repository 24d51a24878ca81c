"""Downloads files from Hugging Face and from other web servers."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import sys
import urllib.parse
import zipfile
from collections.abc import Generator, Mapping
from typing import Any

from unmute_jax.console import size_text
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import cache_dir, readable_as_folder, write_atomically

# Seconds that a server may be silent.
_TIMEOUT = 10.0
_log = logging.getLogger(__name__)


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

    endpoint = os.environ.get("HF_ENDPOINT")
    if cached := find_in_hub_cache(repo, file, revision=revision, repo_type=repo_type):
        return cached
    url = huggingface_hub.hf_hub_url(
        repo, file, revision=revision, repo_type=repo_type, endpoint=endpoint
    )
    with _explained(url):
        # `hf_hub_download` tries for half a minute before it reports that the server
        # cannot be reached; this request tries once.
        about = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
        _announce(url, about.size)
        downloaded = huggingface_hub.hf_hub_download(
            repo, file, revision=revision, repo_type=repo_type, endpoint=endpoint
        )
    path = pathlib.Path(downloaded)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    # The server's tag of a large file is its SHA-256.
    if re.fullmatch("[0-9a-f]{64}", about.etag or "") and digest != about.etag:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise InputError(f"cannot download {url}: it arrived damaged; try again")
    return path


@dataclasses.dataclass(frozen=True)
class HubListing:
    """The files of a data set on Hugging Face at one commit.

    Attributes:
        commit: Commit as 40 hexadecimal digits, a `revision` of `fetch_from_hub`.
        sizes: Size in bytes of every file, by its path in the repository.
    """

    commit: str
    sizes: Mapping[str, int]


def hub_files(repo: str, *, revision: str | None = None) -> HubListing:
    """Lists the files of a data set on Hugging Face.

    The list is kept in the cache and used again where the server cannot be reached,
    so that a downloaded data set can be used without a network.

    Args:
        repo: Repository of the data set, "OWNER/NAME".
        revision: Branch, tag or commit; by default "main".

    Raises:
        InputError: There is no such data set, or it cannot be listed.
    """
    import huggingface_hub
    from huggingface_hub.hf_api import RepoFile

    endpoint = os.environ.get("HF_ENDPOINT")
    name = urllib.parse.quote(f"{repo}@{revision or 'main'}", safe="@")
    kept = cache_dir("datasets") / "listings" / f"{name}.json"
    api = huggingface_hub.HfApi(endpoint=endpoint)
    try:
        with _explained(f"{api.endpoint}/datasets/{repo}"):
            info = api.dataset_info(repo, revision=revision, timeout=_TIMEOUT)
            commit = str(info.sha)
            tree = api.list_repo_tree(
                repo, recursive=True, revision=commit, repo_type="dataset"
            )
            sizes = {f.path: f.size for f in tree if isinstance(f, RepoFile)}
    except _Unreachable:
        if not kept.exists():
            raise
        return HubListing(**json.loads(kept.read_text()))
    write_atomically(kept, json.dumps({"commit": commit, "sizes": sizes}))
    return HubListing(commit, sizes)


class _Unreachable(InputError):
    """A server that cannot be reached, or must not be."""


@contextlib.contextmanager
def _explained(what: str) -> Generator[None]:
    """Turns every error of the hub into one line that says what helps."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
    )

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{one_line(str(error))}") from error
    except (OSError, HTTPError) as error:
        kind = InputError if isinstance(error, HfHubHTTPError) else _Unreachable
        raise kind(f"cannot download {what}: {_hub_reason(error)}") from error


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
        readable_as_folder(path)
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
