"""A local web server that answers as Hugging Face does."""

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
        downloads: File name and requested range of every download, in order.
    """

    url: str
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    breaks_after: int | None = None
    downloads: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: ClassVar[Hub]

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        wanted = self.headers["Range"]
        if self._file() in self.hub.files:
            self.hub.downloads.append((self.path.rpartition("/")[2], wanted))
        start = int(wanted.split("=")[1].split("-")[0]) if wanted else 0
        content = self._answer(start)
        self.wfile.write(content[start:][: self.hub.breaks_after])
        self.hub.breaks_after = None

    def _answer(self, start: int = 0) -> bytes:
        if self.path.startswith("/api/"):
            return self._list()
        content = self.hub.files.get(self._file())
        if content is None:
            self.send_error(404)
            return b""
        self.send_response(206 if start else 200)
        tag = self.hub.tags.get(self.path) or hashlib.sha256(content).hexdigest()
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return content

    def _file(self) -> str:
        """The name of the wanted file, with the branch for the commit."""
        path = self.path
        for branch, commit in COMMITS.items():
            path = path.replace(commit, branch)
        return path

    def _list(self) -> bytes:
        """Answers the two requests that list the files of a data set."""
        path = urllib.parse.unquote(self._file())
        kind, owner, name, what, *_ = f"{path}/".removeprefix("/api/").split("/")
        branch = next((branch for branch in COMMITS if branch in path), "main")
        prefix = f"/{kind}/{owner}/{name}/resolve/{branch}/"
        files = {
            path.removeprefix(prefix): content
            for path, content in self.hub.files.items()
            if path.startswith(prefix)
        }
        answer: object = [
            {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
            for path, content in files.items()
        ]
        if what != "tree":
            answer = {"id": f"{owner}/{name}", "sha": COMMITS[branch], "siblings": []}
        content = json.dumps(answer).encode()
        if not files:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
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
