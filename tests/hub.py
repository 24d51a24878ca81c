"""A local web server that answers as Hugging Face does, and fails as servers do."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# What the hub converts is on a branch of its own.
COMMITS = {"main": COMMIT, "refs/convert/parquet": COMMIT[::-1]}


@dataclasses.dataclass
class Hub:
    """The files that the server has, and the requests that it got.

    Attributes:
        url: Address of the server.
        files: Contents by path ("/OWNER/NAME/resolve/main/FILE").
        tags: Tags of files that are not their SHA-256.
        breaks_after: Bytes after which the next download breaks off; None sends all.
        cut: Bytes that every download lacks at its end, as its headers say too.
        failures: Answers to the next requests: a status and headers; None answers a
            request as usual.
        refused: Status and error code of repositories ("OWNER/NAME") that are not for
            everybody.
        tokens: Tokens that open all repositories.
        lifetime: Downloads for which a signed address of a storage server is good, or
            None if files are sent by the hub itself.
        downloads: File name and requested range of every download, in order.
        strangers: Whether the storage server ever got a token, which is not for it.
    """

    url: str
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    breaks_after: int | None = None
    cut: int = 0
    failures: list[tuple[int, dict[str, str]] | None] = dataclasses.field(
        default_factory=list
    )
    refused: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    tokens: set[str] = dataclasses.field(default_factory=set)
    lifetime: int | None = None
    downloads: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    strangers: bool = False
    signed: dict[str, int] = dataclasses.field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: ClassVar[Hub]

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        content = self._answer()
        self.wfile.write(content[: self.hub.breaks_after])
        if content and not self.path.startswith("/api/"):
            self.hub.breaks_after = None

    def _answer(self) -> bytes:
        """Sends the head of an answer and returns its content."""
        hub = self.hub
        if hub.failures and (failure := hub.failures.pop(0)):
            return self._refuse(*failure)
        path = urllib.parse.unquote(self.path)
        if path.startswith(("/signed/", "/api/")):
            path = path.partition("?")[0]
        for branch, commit in COMMITS.items():
            path = path.replace(commit, branch)
        if path.startswith("/signed/"):
            return self._store(path.removeprefix("/signed"))
        if refusal := self._refusal(path):
            return refusal[0]
        if path.startswith(("/api/datasets/", "/api/models/")):
            return self._list(path)
        if path not in hub.files:
            return self._refuse(404, {"X-Error-Code": self._missing(path)})
        about = {"X-Repo-Commit": COMMIT}
        if hub.lifetime is None:
            return self._send(path, about)
        content = hub.files[path]
        about["X-Linked-ETag"] = f'"{self._tag(path)}"'
        about["X-Linked-Size"] = str(len(content))
        key = str(len(hub.signed))
        hub.signed[key] = hub.lifetime
        # Another host, to which no token may go.
        storage = hub.url.replace("127.0.0.1", "localhost")
        about["Location"] = f"{storage}/signed{self.path}?signature={key}"
        return self._refuse(302, about)

    def _store(self, path: str) -> bytes:
        """Answers as the storage server does."""
        self.hub.strangers |= "Authorization" in self.headers
        key = self.path.rpartition("=")[2]
        if not self.hub.signed[key]:
            return self._refuse(403, {})
        self.hub.signed[key] -= 1
        return self._send(path, {})

    def _refusal(self, path: str) -> tuple[bytes] | None:
        """Refuses those who may not read a repository."""
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        for repository, (status, code) in self.hub.refused.items():
            if f"/{repository}/" not in f"{path}/" or token in self.hub.tokens:
                continue
            if token:
                reason = "Invalid credentials in Authorization header"
                return (self._refuse(401, {"X-Error-Message": reason}),)
            return (self._refuse(status, {"X-Error-Code": code} if code else {}),)
        return None

    def _missing(self, path: str) -> str:
        owner, _, rest = path.removeprefix("/datasets").rpartition("/resolve/")
        branch = rest.partition("/")[0]
        known = [file.removeprefix("/datasets") for file in self.hub.files]
        if not any(file.startswith(f"{owner}/resolve/") for file in known):
            return "RepoNotFound"
        same = any(file.startswith(f"{owner}/resolve/{branch}/") for file in known)
        return "EntryNotFound" if same else "RevisionNotFound"

    def _send(self, path: str, about: dict[str, str]) -> bytes:
        """Sends a file, or the end of it."""
        hub, wanted = self.hub, self.headers["Range"]
        whole = hub.files[path]
        if (tag := self.headers["If-Range"]) and tag != f'"{self._tag(path)}"':
            wanted = None
        start = int(wanted.split("=")[1].split("-")[0]) if wanted else 0
        if self.command == "GET":
            hub.downloads.append((path.rpartition("/")[2], wanted))
        content = whole[start : len(whole) - (hub.cut if self.command == "GET" else 0)]
        self.send_response(206 if wanted else 200)
        if wanted:
            end = start + len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(whole)}")
        about = {**about, "ETag": f'"{self._tag(path)}"'}
        for name, value in (*about.items(), ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        return content

    def _tag(self, path: str) -> str:
        content = self.hub.files[path]
        return self.hub.tags.get(path) or hashlib.sha256(content).hexdigest()

    def _refuse(self, status: int, about: dict[str, str]) -> bytes:
        self.send_response(status)
        for name, value in (*about.items(), ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()
        return b""

    def _list(self, path: str) -> bytes:
        """Answers the two requests that list the files of a data set."""
        kind, owner, name, what, *rest = f"{path}/".removeprefix("/api/").split("/")
        revision = "/".join(rest).strip("/") or "main"
        branch = next((b for b in COMMITS if revision.startswith(b)), "")
        at = f"/{kind}/{owner}/{name}/resolve/"
        if not any(path.startswith(at) for path in self.hub.files):
            return self._refuse(404, {"X-Error-Code": "RepoNotFound"})
        if not any(path.startswith(f"{at}{branch}/") for path in self.hub.files):
            return self._refuse(404, {"X-Error-Code": "RevisionNotFound"})
        answer: object = [
            {
                "type": "file",
                "path": path.removeprefix(f"{at}{branch}/"),
                "size": len(content),
                "oid": "0" * 40,
            }
            for path, content in self.hub.files.items()
            if path.startswith(f"{at}{branch}/")
        ]
        if what == "tree" and len(answer) > 1:
            return self._page(answer)
        if what != "tree":
            answer = {"id": f"{owner}/{name}", "sha": COMMITS[branch], "siblings": []}
        return self._json(answer, {})

    def _page(self, entries: list[object]) -> bytes:
        """Sends half of a long list, and the address of the other half."""
        half, query = len(entries) // 2, urllib.parse.urlsplit(self.path).query
        if "cursor" in query:
            return self._json(entries[half:], {})
        address = f"{self.hub.url}{self.path}&cursor=2"
        return self._json(entries[:half], {"Link": f'<{address}>; rel="next"'})

    def _json(self, answer: object, about: dict[str, str]) -> bytes:
        content = json.dumps(answer).encode()
        self.send_response(200)
        about = {**about, "Content-Length": str(len(content))}
        for name, value in about.items():
            self.send_header(name, value)
        self.end_headers()
        return content

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_hub(monkeypatch, cache) -> Iterator[Hub]:
    """Runs a server that stands for Hugging Face, with its cache in `cache`."""
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_ENDPOINT", handler.hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield handler.hub
        finally:
            server.shutdown()
            thread.join()
