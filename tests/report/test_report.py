"""The whole report, of grids with and without holes."""

import re

import numpy as np
import pytest

from tests.report.made_up import (
    CLASSES,
    grid_records,
    read_csv,
    record,
    write,
    write_predictions,
)
from tests.report.page_reader import Page
from unmute_jax.errors import InputError
from unmute_jax.report import write_report

DATASETS, ENCODERS = ("as20k", "urban"), ("beats", "eat", "sslam")
PROBES, TRIALS = ("linear", "protobin", "stats"), 6
CELLS = len(DATASETS) * len(ENCODERS) * len(PROBES)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report of a whole grid, with a sweep for every cell."""
    folder = tmp_path_factory.mktemp("full")
    made = grid_records(DATASETS, ENCODERS, PROBES, seeds=2, trials=TRIALS)
    write(folder / "run", made)
    write_report([folder / "run"], folder / "out")
    return folder / "out"


def test_everything_is_written(full):
    assert {p.name for p in full.iterdir()} == {
        "report.html", "report.md", "report.tex", "tables", "plots"
    }  # fmt: skip
    pictures = {p.name for p in (full / "plots").iterdir()}
    assert {"wins.png", "ranks.png", "gains.png", "rates_urban.png"} <= pictures
    for picture in (full / "plots").iterdir():
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(read_csv(full / "tables" / "scores.csv")) == CELLS
    assert len(read_csv(full / "tables" / "records.csv")) == CELLS * 2
    assert len(read_csv(full / "tables" / "trials.csv")) == CELLS * TRIALS
    assert len(read_csv(full / "tables" / "per_class.csv")) == CELLS * len(CLASSES)


def test_the_page_stands_alone_with_all_pictures(full):
    text = (full / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert all(x.startswith("data:image/png;base64,") for x in page.fetched)
    assert len(page.fetched) == len(list((full / "plots").iterdir()))
    assert all(x.startswith("#") and x[1:] in page.ids for x in page.links)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert "@import" not in text
    assert "url(" not in text


def test_names_are_escaped_in_every_format(full):
    page = (full / "report.html").read_text()
    assert "50% &lt;noise&gt;" in page
    assert "<noise>" not in page
    latex = (full / "report.tex").read_text()
    assert r"rain\_\&\_wind" in latex
    assert r"x\textasciicircum{}2\_\{i\}" in latex
    body = [x for x in latex.splitlines() if not x.startswith("%")]
    assert not re.search(r"(?<!\\)[%#]", "\n".join(body))
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") > 5
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", latex, re.DOTALL):
        counts = {
            len(re.findall(r"(?<!\\)&", x)) for x in block.splitlines() if "&" in x
        }
        assert len(counts) == 1
    # Greek letters and signs need commands; é does not.
    assert not set("τρ√−–±×") & set("\n".join(body))
    shown = (full / "report.md").read_text()
    rows = [x for x in shown.splitlines() if x.startswith("|")]
    assert all(x.endswith("|") for x in rows)


def test_a_single_record_is_a_report_too(tmp_path):
    write(tmp_path / "run", [record(search=(), learning_rate=None, probe="knn")])
    told = write_report([tmp_path / "run"], tmp_path / "out")
    assert told.startswith("1 record, 1 cell,")
    Page((tmp_path / "out" / "report.html").read_text())


def test_a_damaged_file_of_predictions_is_named(tmp_path):
    made = record()
    write(tmp_path, [made])
    (tmp_path / "predictions").mkdir()
    name = made.file_name().replace(".json", ".npz")
    (tmp_path / "predictions" / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a file of predictions"):
        write_report([tmp_path], tmp_path / "out")


def test_resampled_scores_are_cached_outside_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    made = record()
    labels = np.eye(6, dtype=np.uint8).repeat(2, 0)
    write(tmp_path / "run", [made])
    write_predictions(tmp_path / "run", made, labels.astype(np.float32), labels)
    write_report([tmp_path / "run"], tmp_path / "out")
    assert len(list((tmp_path / "cache" / "resampled").iterdir())) == 1
    assert not list((tmp_path / "out").rglob("*.npy"))
    assert not (tmp_path / "out" / "resampled").exists()
