"""Fetching what publishers hand out: whole, checked, and gone on with."""

import hashlib
import http.server
import threading

import pytest

from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download, obtain
from unmute_jax.errors import InputError


class Handler(http.server.BaseHTTPRequestHandler):
    """Hands out the files of its class, and notes what it was asked for."""

    files: dict
    asked: list

    def do_GET(self):
        name = self.path[1:]
        self.asked.append(name)
        if name not in self.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.files[name])))
        self.end_headers()
        self.wfile.write(self.files[name])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def publisher():
    handler = type("H", (Handler,), {"files": {}, "asked": []})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def info(home, md5=None):
    return DatasetInfo(
        name="two/parts",
        title="Two Parts",
        task="single-label",
        classes=2,
        splits={},
        layout="verified",
        checked="",
        files="a folder with one.csv and two.csv",
        licence="",
        citation="",
        home=home,
        downloads=(
            Download(url=f"{home}/one.csv", name="one.csv"),
            Download(url=f"{home}/x?two", name="two.csv", megabytes=1200, md5=md5),
        ),
    )


def find(place):
    return find_files(place, "one.csv", ())


def test_a_fetch_that_stopped_goes_on(publisher, own_cache):
    handler, home = publisher
    handler.files["one.csv"] = b"first"
    with pytest.raises(InputError) as caught:
        obtain(info(home), None, find)
    message = str(caught.value)
    assert f"cannot download {home}/x?two: the server answers 404" in message
    assert f"  2. get {home}/x?two (about 1,200 MB) as two.csv" in message
    # What came is kept, but is not the data set.
    handler.files["x?two"] = b"second"
    files = obtain(info(home), None, find)
    assert files.read("two.csv") == b"second"
    assert handler.asked == ["one.csv", "x?two", "x?two"]
    obtain(info(home), None, find)
    assert len(handler.asked) == 3
    assert sorted(p.name for p in (own_cache / "datasets" / "two").iterdir()) == [
        "one.csv",
        "two.csv",
    ]


def test_a_file_with_another_checksum_is_not_kept(publisher, own_cache):
    handler, home = publisher
    handler.files.update({"one.csv": b"first", "x?two": b"changed"})
    right = hashlib.md5(b"second").hexdigest()
    with pytest.raises(InputError, match=f"expected md5:{right} but got"):
        obtain(info(home, md5=right), None, find)
    assert not (own_cache / "datasets" / "two" / "two.csv").exists()
