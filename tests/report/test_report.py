"""The whole report, of grids with and without holes."""

import csv
import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from tests.report.made_up import (
    CLASSES,
    grid_records,
    record,
    write,
    write_predictions,
)
from unmute_jax.errors import InputError
from unmute_jax.report import tables, write_report


class Page(html.parser.HTMLParser):
    """Tags that are open, ids, links and everything that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.fetched, self.open = set(), [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.ids.add(found.get("id"))
        for name, value in found.items():
            if name == "href":
                self.links.append(value)
            elif name in ("src", "srcset", "data", "action"):
                self.fetched.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def lines(path):
    with open(path, encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Three data sets, four encoders, four probes, a sweep of 12 trials each."""
    folder = tmp_path_factory.mktemp("full")
    datasets, encoders = (
        ("as20k", "urban", "esc50"),
        ("dasheng", "beats", "eat", "sslam"),
    )
    probes = ("linear", "mhca", "protobin", "stats")
    write(folder / "run", grid_records(datasets, encoders, probes, 2, trials=12))
    write_report([folder / "run"], folder / "out", resamples=50)
    return folder / "out"


def test_everything_is_written(full):
    assert {p.name for p in full.iterdir()} == {
        "report.html", "report.md", "report.tex", "tables", "plots"
    }  # fmt: skip
    pictures = {p.name for p in (full / "plots").iterdir()}
    assert {"wins.png", "ranks.png", "gains.png", "rates_urban.png"} <= pictures
    for picture in (full / "plots").iterdir():
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(lines(full / "tables" / "scores.csv")) == 3 * 4 * 4
    assert len(lines(full / "tables" / "trials.csv")) == 3 * 4 * 4 * 12
    assert len(lines(full / "tables" / "per_class.csv")) == 3 * 4 * 4 * len(CLASSES)


def test_differences_are_those_to_the_paper(full):
    found = lines(full / "tables" / "scores.csv")
    known = {(r["dataset"], r["encoder"], r["probe"]): r for r in found}
    row = known["urban", "SSLAM", "protobin"]
    assert (row["paper"], row["paper_table"], row["paper_mark"]) == ("89.05", "T2", "D")
    difference = float(row["test_mean"]) - 89.05
    assert float(row["difference"]) == pytest.approx(difference, abs=1e-3)
    # On as20k the paper has ten prototypes per class, the record twenty.
    assert known["as20k", "EAT", "protobin J=20"]["paper"] == ""
    assert known["urban", "EAT", "stats"]["paper"] == ""


def test_the_page_fetches_nothing_and_its_links_lead_somewhere(full):
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
    assert r"p{0.3\linewidth}" in latex
    shown = (full / "report.md").read_text()
    rows = [x for x in shown.splitlines() if x.startswith("|")]
    assert all(x.endswith("|") for x in rows)


def test_ranks_and_agreement_have_intervals(full):
    text = (full / "report.md").read_text()
    assert "Do two probes rank encoders alike?" in text
    found = lines(full / "tables" / "agreement.csv")
    assert {r["encoders"] for r in found} == {"4.0"}
    assert all(-1 <= float(r["Kendall's τ-b"]) <= 1 for r in found)
    # Four encoders whose numbers are known on urban; on as20k J is another.
    paper = {
        r["probe"]: r for r in lines(full / "tables" / "agreement-with-the-paper.csv")
    }
    assert (paper["linear"]["encoders"], paper["linear"]["data sets"]) == ("4.0", "2.0")
    assert "stats" not in paper
    assert "seeds only, as no predictions were kept (as20k, urban, esc50)" in text


def test_the_gap_is_told_where_fine_tuning_is_known(full):
    found = lines(full / "tables" / "gap.csv")
    pairs = {(r["data set"], r["encoder"]) for r in found}
    assert pairs == {
        ("as20k", "BEATs"), ("as20k", "EAT"), ("as20k", "SSLAM"),
        ("esc50", "BEATs"), ("esc50", "EAT"),
    }  # fmt: skip


def test_holes_are_dashes_and_untrained_encoders_have_no_paper(tmp_path):
    write(
        tmp_path / "run",
        [
            record(probe="linear", test=0.3),
            record(probe="protobin", test=0.5),
            record(probe="linear", dataset="desed", test=0.2),
            record(probe="protobin", weights="untrained", test=0.4),
        ],
    )
    write_report([tmp_path / "run"], tmp_path / "out", resamples=10)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| linear | 30.00 (paper 77.76, −47.76) | – |" in text
    assert "| **protobin** |" not in text
    assert "no such row in the paper: EAT (untrained)" in text
    # The baseline stands in every table, run or not.
    assert "| stats | – | – |" in text
    assert "stats was not run" in text
    found = lines(tmp_path / "out" / "tables" / "scores.csv")
    untrained = next(r for r in found if "untrained" in r["encoder"])
    assert (untrained["published_weights"], untrained["paper"]) == ("no", "")


def test_a_single_record_is_a_report_too(tmp_path):
    write(tmp_path / "run", [record(search=(), learning_rate=None, probe="knn")])
    told = write_report([tmp_path / "run"], tmp_path / "out", resamples=10)
    assert told.startswith("1 record, 1 cell,")
    Page((tmp_path / "out" / "report.html").read_text())


def test_scores_against_the_number_of_prototypes(tmp_path):
    for j, score in ((1, 0.3), (5, 0.45), (20, 0.5)):
        options = {"prototypes_per_class": j} if j != 20 else {}
        made = record(
            probe="protobin", probe_options=options, test=score, experiment=str(j)
        )
        write(tmp_path / str(j), [made])
    write_report([tmp_path], tmp_path / "out", resamples=10)
    found = lines(tmp_path / "out" / "tables" / "prototypes.csv")
    assert [float(r["J"]) for r in found] == [1, 5, 20]
    gains = [float(r["over the smallest J"]) for r in found]
    assert gains == pytest.approx([0, 15, 20])


def test_predictions_make_intervals_of_sources_and_are_read_once(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    for probe, noise in (("linear", 2.0), ("mhca", 0.5)):
        made = record(probe=probe, test=0.5 if probe == "linear" else 0.7)
        write(tmp_path / "run", [made])
        logits = (labels + noise * rng.normal(size=labels.shape)).astype(np.float32)
        write_predictions(tmp_path / "run", made, logits, labels)
    write_report([tmp_path / "run"], tmp_path / "out", resamples=30)
    first = (tmp_path / "out" / "report.md").read_text()
    (row,) = re.findall(r"\| EAT \| \+20\.00 \(\[.*?\], 1 set\) \|", first)
    shown = re.search(r"\| mhca \| \*\*70\.00\*\* \(\[(.*), (.*)\]; paper", first)
    (scored,) = [
        r for r in lines(tmp_path / "out/tables/scores.csv") if r["probe"] == "mhca"
    ]
    assert shown is not None
    for text, column in zip(shown.groups(), ("low_95", "high_95"), strict=True):
        assert float(text) == pytest.approx(float(scored[column]), abs=0.051)
    assert float(scored["low_95"]) < 70 < float(scored["high_95"])
    assert scored["interval_over"] == "clips"
    shutil.rmtree(tmp_path / "out" / "tables")
    write_report([tmp_path / "run"], tmp_path / "out", resamples=30)
    assert row in (tmp_path / "out" / "report.md").read_text()
    assert len(list((tmp_path / "out" / "resampled").iterdir())) == 2


def test_a_damaged_file_of_predictions_is_named(tmp_path):
    made = record()
    write(tmp_path, [made])
    (tmp_path / "predictions").mkdir()
    name = made.file_name().replace(".json", ".npz")
    (tmp_path / "predictions" / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a file of predictions"):
        write_report([tmp_path], tmp_path / "out", resamples=5)


def test_scores_beside_the_compared_one_have_a_table(tmp_path):
    made = record(metric="frame mAP", more={"clip mAP": 0.61, "event F1": 0.2})
    write(tmp_path, [made])
    write_report([tmp_path], tmp_path / "out", resamples=5)
    (row,) = lines(tmp_path / "out" / "tables" / "other-scores.csv")
    assert (float(row["clip mAP"]), float(row["event F1"])) == pytest.approx((61, 20))


def test_settings_that_differ_are_counted(full):
    found = {r["setting"]: r["value"] for r in lines(full / "tables" / "settings.csv")}
    assert found["epochs"] == "30"
    assert found["loss.name"] == "asymmetric"
    rows = lines(full / "tables" / "encoders.csv")
    assert {r["published weights"] for r in rows} == {"yes"}


def test_a_pipe_in_a_name_breaks_no_row():
    made = tables.Table(name="t", title="t", columns=("a|b",), rows=(("x|y",),))
    assert "| a\\|b |" in tables.markdown(made)
    assert "| x\\|y |" in tables.markdown(made)
    assert json.loads(json.dumps(tables.as_csv(made))) == "a|b\nx|y\n"
