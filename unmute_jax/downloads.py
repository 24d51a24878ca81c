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
import shutil
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Generator, Mapping
from typing import Any, BinaryIO, TypeVar

from unmute_jax.console import hub_bar, is_verbose, size_text
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import (
    cache_dir,
    check_room,
    describe_fault,
    disk_fault,
    fitting,
    parts_inside,
    readable_as_folder,
    write_atomically,
)
from unmute_jax.locks import locked

_TIMEOUT = 10.0  # Seconds that a server may be silent.
_CHUNK = 1 << 20  # Bytes that are written at once.
# Attempts in all, and the longest pause that a server may ask for, in seconds.
_ATTEMPTS, _LONGEST_PAUSE = 4, 60.0
# Answers of servers that have too much to do, or are being restarted.
_BUSY = (429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)
T = TypeVar("T")


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

    parts_inside(file, f"cannot download from {repo}")
    endpoint = _endpoint()
    if cached := find_in_hub_cache(repo, file, revision=revision, repo_type=repo_type):
        return cached
    where: Any = dict(revision=revision, repo_type=repo_type, endpoint=endpoint)
    url = huggingface_hub.hf_hub_url(repo, file, **where)
    with _explained(url):
        # `hf_hub_download` tries for half a minute before it reports that the server
        # cannot be reached; this request tries once.
        about = _patiently(
            lambda: huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
        )
        check_hub_room(about.size or 0, f"the bytes of {url}")
        _announce(url, about.size)
        downloaded = _patiently(
            lambda: huggingface_hub.hf_hub_download(
                repo, file, **where, tqdm_class=hub_bar()
            )
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


def check_hub_room(needed: int, what: str) -> None:
    """Makes sure that the cache of Hugging Face has room for a download.

    Args:
        needed: Number of bytes.
        what: Name of what needs the room, in the plural.

    Raises:
        InputError: The disk has less room.
    """
    from huggingface_hub import constants

    check_room(constants.HF_HUB_CACHE, needed, what)


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

    name = urllib.parse.quote(f"{repo}@{revision or 'main'}.json", safe="@")
    kept = fitting(cache_dir("datasets") / "listings" / name)
    api = huggingface_hub.HfApi(endpoint=_endpoint())
    try:
        with _explained(f"{api.endpoint}/datasets/{repo}"):
            info = _patiently(
                lambda: api.dataset_info(repo, revision=revision, timeout=_TIMEOUT)
            )
            commit = str(info.sha)
            tree = api.list_repo_tree(
                repo, recursive=True, revision=commit, repo_type="dataset"
            )
            sizes = {f.path: f.size for f in tree if isinstance(f, RepoFile)}
    except _Unreachable as error:
        if not kept.exists():
            raise
        _log.warning("%s; the list of files is the one of before", error)
        return HubListing(**json.loads(kept.read_text()))
    write_atomically(kept, json.dumps({"commit": commit, "sizes": sizes}))
    return HubListing(commit, sizes)


class _Unreachable(InputError):
    """A server that cannot be reached, or must not be."""


def _endpoint() -> str:
    """Returns the address of the hub, or of the mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


def _pause(seconds: float, answer: str) -> None:
    _log.warning("the server answers %s; trying again in %g s", answer, seconds)
    time.sleep(seconds)


def _patiently(request: Callable[[], T]) -> T:
    """Repeats a request to the hub while a server is busy or an address has expired."""
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(1, _ATTEMPTS):
        try:
            return request()
        except HfHubHTTPError as error:
            response, pause = error.response, float(attempt)
            with contextlib.suppress(ValueError):
                pause = float(response.headers.get("Retry-After", pause))
            # The signed address of a storage server may have expired.
            is_hub = str(response.url).startswith(_endpoint())
            has_expired = response.status_code == 403 and not is_hub
            is_busy = response.status_code in _BUSY and pause <= _LONGEST_PAUSE
            if not has_expired and not is_busy:
                raise
            _pause(pause, f"{response.status_code} {response.reason_phrase}")
    return request()


@contextlib.contextmanager
def _explained(what: str) -> Generator[None]:
    """Turns every error of the hub into one line that says what helps."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        LocalEntryNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise InputError(one_line(str(error))) from error
    # hf_xet, which downloads large files where it is installed, raises `RuntimeError`.
    except (OSError, HTTPError, RuntimeError) as error:
        cause: BaseException = error
        if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
            cause = error.__cause__
        answer = error.response if isinstance(error, HfHubHTTPError) else None
        is_busy = answer is None or answer.status_code in _BUSY
        kind = _Unreachable if is_busy else InputError
        raise kind(f"cannot download {what}: {_hub_reason(cause)}") from error


def _hub_reason(error: BaseException) -> str:
    """Says in one line why the hub gave no file, and what helps."""
    from huggingface_hub import errors

    log_in = "set HF_TOKEN, or run `hf auth login`"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and the file is not in the cache"
    if isinstance(error, errors.GatedRepoError):
        return f"ask for access on the page of the repository, then {log_in}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository, or it is private: {log_in}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such branch, tag or commit"
    if isinstance(error, errors.EntryNotFoundError):
        return "the repository has no such file"
    if isinstance(error, errors.HfHubHTTPError):
        response = error.response
        status = f"the server answers {response.status_code} {response.reason_phrase}"
        if response.status_code == 401:
            return f"{status}: your token is not valid; {log_in} again"
        if response.status_code == 403:
            return f"{status}: your token does not give access"
        if response.status_code == 429:
            return f"{status}: try again later; with a token it allows more ({log_in})"
        return f"{status}: try again later" if response.status_code in _BUSY else status
    if fault := disk_fault(error):
        return describe_fault(fault)
    if "Consistency check failed" in str(error):
        return "it arrived with another size; try again"
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
    path = folder / (name or url.rpartition("/")[2])
    if path.exists():
        return path
    try:
        digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
        with locked(cache_dir("locks") / digest, f"downloading {url}"):
            if not path.exists():
                _retrieve(url, checksum, path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot download {url}: {_web_reason(error)}") from error
    return path


def _retrieve(url: str, checksum: str | None, path: pathlib.Path) -> None:
    """Downloads a file into a folder of its own, checks it there and moves it."""
    import pooch

    get: Any = _get  # Pooch declares the parameters under other names.
    pooch.get_logger().setLevel(logging.WARNING)  # It prints what `_announce` does.
    partial = fitting(path.with_name(f".{path.name}.part"))
    # A process that was killed may have left half a file.
    shutil.rmtree(partial, ignore_errors=True)
    _announce(url, None)
    try:
        arrived = pooch.retrieve(url, checksum, path.name, partial, downloader=get)
        if path.suffix == ".zip" and not zipfile.is_zipfile(arrived):
            raise ValueError("what arrived is no zip archive")
        os.replace(arrived, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    readable_as_folder(path)


def _get(url: str, output_file: str, pooch: Any) -> None:
    """Downloads a file; a download that breaks off goes on where it stopped."""
    import requests
    import tqdm

    failures, headers = 0, {"Accept-Encoding": "identity"}
    with (
        requests.Session() as session,
        open(output_file, "wb") as out,
        tqdm.tqdm(
            unit="B", unit_scale=True, disable=None if is_verbose() else True
        ) as bar,
    ):
        while True:
            start = out.tell()
            try:
                _append(session, url, headers, out, bar)
                return
            except requests.RequestException as error:
                failures = 1 if out.tell() > start else failures + 1
                pause, answer = float(failures), "no more"
                if error.response is not None:
                    status = error.response.status_code
                    with contextlib.suppress(ValueError):
                        pause = float(error.response.headers.get("Retry-After", pause))
                    if status not in _BUSY or pause > _LONGEST_PAUSE:
                        raise
                    answer = f"{status} {error.response.reason}"
                elif not start and isinstance(error, requests.ConnectionError):
                    raise  # The server cannot be reached.
                if failures == _ATTEMPTS:
                    raise
                _pause(pause, answer)


def _append(
    session: Any, url: str, headers: dict[str, str], out: BinaryIO, bar: Any
) -> None:
    """Appends the rest of a file, or all of it where the server knows no ranges."""
    if start := out.tell():
        headers["Range"] = f"bytes={start}-"
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        answer.raise_for_status()
        if answer.status_code != 206:
            start = 0
            out.seek(0)
            out.truncate()
        if tag := answer.headers.get("ETag"):
            # If the file has changed in between, all of it is sent again.
            headers["If-Range"] = tag
        bar.total = start + int(answer.headers.get("Content-Length", 0))
        bar.update(start - bar.n)
        for chunk in answer.iter_content(_CHUNK):
            out.write(chunk)
            bar.update(len(chunk))


def _web_reason(error: Exception) -> str:
    """Says in one line why a server gave no file, and what helps."""
    import requests

    if isinstance(error, requests.HTTPError) and (answer := error.response) is not None:
        return f"the server answers {answer.status_code} {answer.reason}"
    if isinstance(error, requests.RequestException):
        return f"{one_line(str(error), 200)} (check the network connection)"
    if fault := disk_fault(error):
        return describe_fault(fault)
    return one_line(str(error))  # A checksum that differs.


def _announce(url: str, size: int | None) -> None:
    of_size = "" if size is None else f" ({size_text(size)})"
    _log.warning("downloading %s%s", url, of_size)
