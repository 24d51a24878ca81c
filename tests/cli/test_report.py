from tests.cli.commands import start_forked
from tests.report.made_up import record, write


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
