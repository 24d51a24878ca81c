"""Downloading a file: goes on where it was cut off, and checks what arrived."""

from __future__ import annotations

import hashlib
import http.client
import pathlib
import re
import urllib.error
import urllib.request
from typing import Any, BinaryIO

from unmute_jax.progress import progress

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
