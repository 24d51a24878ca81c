from tests.cli.commands import start, start_forked
from tests.report.made_up import record, write


def test_the_page_is_opened_in_the_browser(tmp_path, monkeypatch):
    write(tmp_path / "my run", [record(probe="linear")])
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    arguments = (str(tmp_path / "my run"), f"--output={tmp_path}/my out", "--open")
    done = start(*arguments, cache=tmp_path, program="report")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "my out" / "report.html"
    assert done.stdout.endswith(f"opened {page}\n")
    assert opened.read_text().strip() == page.as_uri()


def test_a_report_is_written_and_mistakes_are_one_line(tmp_path):
    write(tmp_path / "run", [record(probe="linear"), record(probe="mhca")])
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    orders = (
        ["report", str(tmp_path / "run"), f"--output={out}", "--export=mteb"],
        ["report", str(tmp_path / "empty"), f"--output={tmp_path}/other"],
    )
    done, missing = start_forked(orders, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 records, 2 cells, 1 data set, 1 encoder, 2 probes, 1 seed" in done.stdout
    assert f"{out}/report.html" in done.stdout
    assert (out / "report.html").exists()
    assert f"results of 2 cells for mteb, in {out}/mteb" in done.stdout
    assert len([*(out / "mteb").rglob("unmute-jax-urban.json")]) == 2
    assert missing.returncode == 2
    (line,) = missing.stderr.splitlines()
    assert line.startswith("error: no records (results/*.json) below")
    assert not (tmp_path / "other").exists()
