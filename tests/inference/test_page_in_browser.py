"""The page of a diagnosis in a real browser, on machines that have Chromium."""

import http.server
import json
import queue
import shutil
import subprocess
import threading

import pytest

from tests.training.fakes import tones
from unmute_jax.inference import excerpts
from unmute_jax.inference.diagnose_page import page
from unmute_jax.inference.excerpts import listening_section

CHROMIUM = next(
    filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), ""
)
# Shows the page in a frame of some width, plays its first excerpt, and sends what
# happened to the server that it comes from.
FRAME = """<iframe width="WIDTH" height="800" src="/page"></iframe><script>
onload = async () => {
  const shown = document.querySelector("iframe").contentWindow;
  const audio = shown.document.querySelector("audio");
  audio.muted = true;
  await audio.play();
  await new Promise(done => audio.ontimeupdate = () => audio.currentTime && done());
  const requests = shown.performance.getEntriesByType("resource").map(e => e.name);
  fetch("/found", {method: "POST", body: JSON.stringify({
    overflow: shown.document.documentElement.scrollWidth
      - shown.document.documentElement.clientWidth,
    width: shown.innerWidth,
    broken: [...shown.document.images].filter(i => !i.naturalWidth).length,
    requests: requests.filter(name => !name.startsWith("data:")),
    seconds: audio.currentTime,
  })});
};
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the pages of the server, and keeps what is sent to it."""

    def do_GET(self):
        text = self.server.pages.get(self.path, "")
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.found.put(json.loads(body))

    def log_message(self, *_):
        """Prints nothing."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.pages, server.found = {}, queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_its_excerpts_play_and_nothing_is_requested(
    diagnosed, server, width, tmp_path, monkeypatch
):
    trained, _, diagnosis = diagnosed
    monkeypatch.setattr(excerpts, "MOST_PROTOTYPES", 1)
    section = listening_section(trained, diagnosis, tones())
    server.pages["/page"] = page(trained, diagnosis, [section])
    server.pages["/"] = FRAME.replace("WIDTH", str(width))
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
        *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"),
        *(f"--user-data-dir={tmp_path}/profile", "--no-first-run"),
        f"http://127.0.0.1:{server.server_port}/",
    ]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent) as browser:
        try:
            found = server.found.get(timeout=60)
        finally:
            browser.terminate()
    assert found.pop("seconds") > 0
    assert found == {"overflow": 0, "width": width, "broken": 0, "requests": []}
