"""The prototypes of a trained probe are diagnosed on their training clips."""

import json

from tests.cli.commands import start


def test_a_page_and_its_numbers_are_written(tiny_run, shared_cache, tmp_path):
    folder, out = tiny_run[0], tmp_path / "out"
    arguments = (f"--workdir={folder}", "--probe=protobin", f"--output={out}")
    done = start(*arguments, cache=shared_cache, program="diagnose")
    assert done.returncode == 0, done.stderr
    assert "20 prototypes, 24 clips" in done.stdout
    numbers = json.loads((out / "diagnostics.json").read_text())
    nearest = numbers["prototypes"][0]["nearest"][0]["clip"]
    assert nearest.startswith("train-")
    page = (out / "diagnostics.html").read_text()
    assert nearest in page
    assert "data:audio/ogg" in page
