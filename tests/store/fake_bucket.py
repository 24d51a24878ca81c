"""A bucket in memory that answers like Google Cloud Storage, as far as a store asks."""

import http.server
import json
import re
import threading
import urllib.parse


class FakeBucket(http.server.ThreadingHTTPServer):
    """A server that takes all buckets for one.

    Attributes:
        objects: Content and generation of every object, by name.
        refuses: Whether it denies every request.
    """

    def __init__(self):
        super().__init__(("localhost", 0), _Handler)
        self.objects, self.refuses, self._generation = {}, False, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def environment(self):
        """Environment in which tensorstore takes it for Google's server."""
        return {
            "TENSORSTORE_GCS_HTTP_URL": f"http://localhost:{self.server_address[1]}",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
        }

    def put(self, name, data):
        with self.lock:
            self._generation += 1
            self.objects[name] = (data, self._generation)
            return self._generation

    def files(self, folder):
        """Returns the content of the files in a folder, by name."""
        with self.lock:
            return {
                name.removeprefix(folder): data
                for name, (data, _) in self.objects.items()
                if name.startswith(folder)
            }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise every answer waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        path, options = self._request()
        if self.server.refuses:
            self._refuse()
        elif path.endswith("/o"):
            self._list(options)
        else:
            self._read(urllib.parse.unquote(path.partition("/o/")[2]), options)

    def do_POST(self):
        _, options = self._request()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            self._refuse()
            return
        generation = self.server.put(options["name"], data)
        self._json({"name": options["name"], "generation": str(generation)})

    def do_DELETE(self):
        name = urllib.parse.unquote(self._request()[0].partition("/o/")[2])
        with self.server.lock:
            deleted = self.server.objects.pop(name, None)
        self._answer(404 if deleted is None else 204)

    def _list(self, options):
        first, end = options.get("startOffset", ""), options.get("endOffset", "")
        with self.server.lock:
            names = sorted(self.server.objects)
        names = [n for n in names if n >= first and (not end or n < end)]
        self._json({"items": [{"name": n} for n in names]})

    def _read(self, name, options):
        with self.server.lock:
            data, number = self.server.objects.get(name, (None, 0))
        generation = {"x-goog-generation": str(number)}
        if data is None:
            self._answer(404, b"{}")
        elif options.get("ifGenerationNotMatch") == str(number):
            self._answer(304)
        elif span := self.headers.get("Range"):
            start, stop = re.fullmatch(r"bytes=(\d*)-(\d*)", span).groups()
            first = int(start) if start else max(0, len(data) - int(stop))
            end = min(len(data), int(stop) + 1) if start and stop else len(data)
            if first >= end:
                self._answer(416)
                return
            content_range = {"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
            self._answer(206, data[first:end], **generation, **content_range)
        else:
            self._answer(200, data, **generation)

    def _request(self):
        url = urllib.parse.urlsplit(self.path)
        return url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def _refuse(self):
        self._answer(403, b'{"error": {"code": 403, "message": "not for you"}}')

    def _json(self, value):
        self._answer(200, json.dumps(value).encode())

    def _answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing."""
