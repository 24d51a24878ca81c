"""Downloading a file: goes on where it was cut off, and checks what arrived."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import pathlib
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Generator
from typing import Any, BinaryIO

from unmute_jax.console import progress
from unmute_jax.errors import InputError

_TIMEOUT = 10.0
_CHUNK = 1 << 20


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps what Hugging Face says of a file while it points to where that lies.

    Attributes:
        sha256: Of the whole file.
    """

    sha256: str | None = None

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Called on the way to where the bytes are."""
        tag = str(headers.get("X-Linked-ETag", "")).strip('"')
        if re.fullmatch("[0-9a-f]{64}", tag):
            self.sha256 = tag
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, target: pathlib.Path, *, sha256: str | None = None) -> None:
    """Downloads `url` to `target`; takes up where an earlier try was cut off.

    The bytes go to `target` + ".part", which becomes `target` when it is whole. Only
    one process at a time may do so.

    Args:
        url: Of the file.
        target: Where to.
        sha256: Of the file, where it is known; a server may tell it besides.

    Raises:
        OSError: The server cannot be reached or refuses (`urllib.error.URLError`), or
            the connection broke, or the bytes are not those of the hash.
    """
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    redirects = _Redirects()
    try:
        response = urllib.request.build_opener(redirects).open(
            request, timeout=_TIMEOUT
        )
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
            got = _copy(response, out, None if left is None else int(left), target.name)
    if left is not None and got != int(left):
        raise OSError(f"the connection broke {int(left) - got} bytes before the end")
    wanted = {sha256, redirects.sha256} - {None}
    if wanted:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if wanted != {found}:
            part.unlink()
            raise OSError(f"{url} is another file than the published one")
    part.replace(target)
    return None


def _copy(response: Any, out: BinaryIO, left: int | None, name: str) -> int:
    """Copies all bytes, and tells how far it is; the value is their number."""
    done, got = out.tell(), 0
    total = done + (left or 0)
    with progress(name, total >> 20, unit="MB", done=done >> 20) as advance:
        while chunk := response.read(_CHUNK):
            out.write(chunk)
            advance((done + got + len(chunk) >> 20) - (done + got >> 20))
            got += len(chunk)
    return got


VARIABLE = "UNMUTE_CACHE"
TOKENS = "UNMUTE_TOKENS"


def cache_dir(room: str) -> pathlib.Path:
    """The folder of one kind of cache; made by whoever first writes to it.

    Args:
        room: "datasets", "tokens", "weights" or "compiled".

    The environment variable `UNMUTE_CACHE` moves all of them; without it they are in
    `unmute_jax` under `XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        InputError: The variable holds a URL.
    """
    base = os.environ.get(VARIABLE)
    if base and "://" in base:
        raise InputError(f"{VARIABLE}={base}: must be a folder; {TOKENS} may be a URL")
    if base:
        return pathlib.Path(base).expanduser() / room
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return pathlib.Path(home).expanduser() / "unmute_jax" / room


def token_root() -> str | pathlib.Path:
    """The place of all token stores, which are by far the largest.

    The environment variable `UNMUTE_TOKENS`, a folder or a URL ("gs://bucket/folder"),
    moves them alone; without it they are in `cache_dir("tokens")`.
    """
    root = os.environ.get(TOKENS)
    if not root:
        return cache_dir("tokens")
    return root if "://" in root else pathlib.Path(root).expanduser()


def download(
    url: str, target: pathlib.Path, *, megabytes: int, md5: str | None = None
) -> None:
    """Fetches a file; `target` appears only when all of it is there.

    Args:
        url: What to fetch.
        target: Where it goes; its suffix says what must come.
        megabytes: Its usual size, for the progress where the server does not tell.
        md5: Of the whole file, where its publisher tells.

    Raises:
        OSError: It could not be fetched, or what came is not what should have come.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    seen = hashlib.md5(usedforsecurity=False)
    try:
        with (
            urllib.request.urlopen(url, timeout=30) as page,
            partial.open("wb") as file,
        ):
            length = page.headers.get("Content-Length")
            total = int(length) // 10**6 if length else megabytes
            with progress(f"fetching {url}", total, unit="MB") as advance:
                while chunk := page.read(10**6):
                    file.write(chunk)
                    seen.update(chunk)
                    advance(1)
            if length and file.tell() < int(length):
                raise OSError(f"{file.tell()} of {length} bytes came")
        if md5 and seen.hexdigest() != md5:
            raise OSError(f"its MD5 is {seen.hexdigest()}, not {md5}")
        if target.suffix == ".zip" and not zipfile.is_zipfile(partial):
            raise OSError("what came is not a whole zip archive")
        partial.replace(target)
    except urllib.error.HTTPError as error:
        error.close()  # It holds the connection.
        raise OSError(f"HTTP {error.code}: {error.reason}") from None
    finally:
        partial.unlink(missing_ok=True)


_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Generator[None]:
    """Only one process at a time is inside; others wait, and say so.

    Args:
        path: A file for this alone; it is gone when nobody is inside.
    """
    import fcntl  # There is none on Windows, where all else works.

    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("waiting for another process, which holds %s", path)
                fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever was inside has taken the file away.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        stack.callback(path.unlink)
        yield


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) beside `path`, then renames it to that."""
    with writing(path) as out:
        out.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """A file beside `path` that becomes `path` when it is complete."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
