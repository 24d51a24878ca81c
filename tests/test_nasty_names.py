"""Text from outside stays text in every output: no markup, no formula, no command."""

import csv
import io
import re

import numpy as np
import pytest

from tests.nasty_names import IN_FILES, NAMES, is_safe_to_print
from tests.report import made_up
from tests.report.page_reader import Page
from tests.results.records import record
from unmute_jax import results
from unmute_jax.cli import ending
from unmute_jax.console import print_table, progress, say
from unmute_jax.datasets.annotations import audacity, event_table, raven
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.names import normal_name
from unmute_jax.datasets.tables import csv_text, parse_table
from unmute_jax.encoders import Geometry
from unmute_jax.errors import InputError, one_line
from unmute_jax.inference.recordings import against, thresholds
from unmute_jax.inference.recordings.calibration_plot import calibration_png
from unmute_jax.inference.recordings.evidence_plot import evidence_png
from unmute_jax.inference.recordings.windows import Window
from unmute_jax.io import write_atomically
from unmute_jax.metrics.decisions import Counts, calibration
from unmute_jax.report import write_report
from unmute_jax.results import plots

EVENTS = [
    SoundEvent(onset=float(k), offset=k + 1.0, label=n) for k, n in enumerate(NAMES)
]
# Pictures have the letters of one font; others are boxes.
pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
FORMULA = re.compile(r"[=+\-@\t\r\n]")


def test_names_of_files_and_classes_are_valid_unicode():
    for name in NAMES:
        assert "\0" not in normal_name(name).encode().decode()


def test_no_field_of_a_csv_is_a_formula_and_all_are_read_as_they_were():
    text = csv_text([("name", "number"), *((name, -1.5) for name in NAMES)])
    before = csv.field_size_limit(10**6)
    fields = list(csv.reader(io.StringIO(text, newline="")))
    csv.field_size_limit(before)
    assert not [row[0] for row in fields if FORMULA.match(row[0])]
    # Numbers are numbers.
    assert {row[1] for row in fields[1:]} == {"-1.5"}
    lines = parse_table(text, "x.csv", ("name",))
    assert [line["name"] for line in lines] == list(NAMES)


def test_tables_of_events_keep_the_names_of_recordings_and_classes(tmp_path):
    text = event_table.write([(event.label, event) for event in EVENTS])
    rows = event_table.read(text, "predictions.csv")
    assert [(row.file, row.event.label) for row in rows] == [(n, n) for n in NAMES]


def test_label_tracks_and_selection_tables_have_a_line_for_each_event():
    for kind, head in ((audacity, 0), (raven, 1)):
        text = kind.write(EVENTS)
        assert len(text.splitlines()) == head + len(EVENTS)
        assert not re.search(r"[\0\x1b\x07\x9b]", text)
        found = kind.read(text, "x.txt")
        events = found if kind is audacity else found[0]
        longest = max(len(event.label) for event in events)
        assert longest == 200_000
        plain = [one_line(n, 10**6) for n in NAMES]
        assert [one_line(event.label, 10**6) for event in events] == plain


def test_thresholds_are_read_for_the_classes_they_were_written_for(tmp_path):
    classes = tuple(map(normal_name, NAMES))
    wanted = np.linspace(0.1, 0.9, len(classes), dtype=np.float32)
    thresholds.write_thresholds(tmp_path, classes, wanted)
    path = tmp_path / "thresholds.csv"
    found = thresholds.read_thresholds(path, classes, 0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_records_keep_every_name(tmp_path):
    made = record(
        dataset="folder:<b>",
        per_class=dict.fromkeys(IN_FILES, 0.5),
        notes=IN_FILES,
        protocol=IN_FILES[0],
    )
    results.write_record(tmp_path, made)
    (path,) = tmp_path.iterdir()
    assert results.read_record(path) == made


def test_a_text_that_utf_8_cannot_hold_is_written(tmp_path):
    write_atomically(tmp_path / "x.txt", "\n".join(NAMES))
    assert r"half \ud800 pair" in (tmp_path / "x.txt").read_text()


def test_a_terminal_shows_names_and_obeys_none(capsys, verbose):
    for name in NAMES:
        say(name)
        say(name, error=True)
        with progress(name, 2, unit="clips", line_every=0.0) as advance:
            advance(1)
    shown = capsys.readouterr()
    assert is_safe_to_print(shown.out + shown.err)
    assert r"\x1b[31mred" in shown.out


def test_errors_are_shown_without_obeying_them(capsys):
    for name in NAMES:
        with pytest.raises(SystemExit), ending.explained():
            raise InputError(f"{name}: there is no such file")
    assert is_safe_to_print(capsys.readouterr().err)


def test_the_table_of_a_run_shows_markup_as_it_is(capsys):
    made = record(
        notes=NAMES,
        source=NAMES[2],
        encoder=NAMES[2],
        probe_options={"query": NAMES[2]},
    )
    print_table(results.table([made], ["linear"]))
    shown = capsys.readouterr().out
    assert is_safe_to_print(shown)
    words = " ".join(shown.split())
    assert words.count("[bold]x[/bold]") == 4
    assert ":dog:" in words
    # A note of 200,000 letters would fill the terminal.
    assert len(shown) < 20_000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report of records with such names wherever there are names."""
    folder = tmp_path_factory.mktemp("report")
    records = [
        made_up.record(
            dataset=f"folder:{name}",
            encoder=name,
            probe=probe,
            seed=seed,
            protocol=f"fold {name}",
            source=name,
            notes=(name,),
            test=0.4 + 0.01 * seed + 0.1 * (probe == "protobin"),
            per_class={n: 0.4 + 0.01 * k for k, n in enumerate(IN_FILES)},
        )
        for name in IN_FILES
        for probe in ("linear", "protobin")
        for seed in (0, 1)
    ]
    made_up.write(folder / "run", records)
    write_report([folder / "run"], folder / "out")
    return folder / "out"


def test_the_page_of_a_report_has_no_foreign_elements(report):
    text = (report / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert "<script>alert" not in text
    assert is_safe_to_print(text)
    # No name fills the page.
    assert "L" * 2000 not in text


def test_the_markdown_of_a_report_has_no_markup_in_names(report):
    text = (report / "report.md").read_text()
    assert is_safe_to_print(text)
    assert "L" * 2000 not in text
    assert not re.search(r"(?<!\\)<", text)
    for markup in ("|b", "`code`", "*bold*", "_it_", "[c](", "~~f~~", "US$"):
        assert re.escape(markup[0]) or True
        assert markup not in text.replace("\\" + markup[0], "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_the_latex_of_a_report_has_no_commands_in_names(report):
    text = (report / "report.tex").read_text()
    assert is_safe_to_print(text)
    assert "L" * 2000 not in text
    assert r"\input{" not in text
    assert r"\textbackslash{}input\{x\}" in re.sub(r"\\allowbreak\{\}", "", text)
    body = "\n".join(x for x in text.splitlines() if not x.startswith("%"))
    assert not re.search(r"(?<!\\)[%#]", body)


def test_the_tables_of_a_report_keep_names_and_have_no_formula(report):
    files = sorted((report / "tables").glob("*.csv"))
    assert len(files) > 5
    before = csv.field_size_limit(10**6)
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            fields = [field for row in csv.reader(file) for field in row]
        # Differences have a sign; what follows it is no formula.
        signed = re.compile(r"[+-][\d.,]+[^=+@|(A-Za-z]*")
        assert not [
            f for f in fields if FORMULA.match(f) and not signed.fullmatch(f)
        ], path
    csv.field_size_limit(before)
    text = (report / "tables" / "per_class.csv").read_bytes().decode()
    lines = parse_table(text, "per_class.csv", ("class",))
    assert {line["class"] for line in lines} == set(IN_FILES)


def test_every_data_set_has_pictures_of_its_own(report):
    names = [path.name for path in (report / "plots").glob("rates_*.png")]
    assert len(names) == len(IN_FILES)
    assert max(len(name.encode()) for name in names) < 200


def test_pictures_show_names_and_no_formulas(tmp_path):
    made = record(
        dataset=NAMES[1],
        encoder=NAMES[0],
        per_class=dict.fromkeys(NAMES, 0.5),
        positives=dict.fromkeys(NAMES, 3),
        chance=dict.fromkeys(NAMES, 0.1),
    )
    plots.training_curves(tmp_path / "curves.png", [], [made], ["linear"])
    plots.per_class_scores(tmp_path / "classes.png", [made], ["linear"])
    empty = calibration(np.full((4, 2), 0.5), np.ones((4, 2), bool))
    for name in NAMES:
        assert calibration_png(empty, name).startswith(b"\x89PNG")
        geometry = Geometry(0.25, ((0.0, 4000.0),))
        window = Window(
            index=0, start=0.0, end=1.0, waveform=np.zeros(8000, np.float32)
        )
        maps = {name: np.ones((4, 1), np.float32)}
        assert evidence_png(window, 8000, maps, geometry, name).startswith(b"\x89PNG")


def test_a_comparison_with_annotations_shows_and_keeps_classes(capsys):
    n = len(NAMES)
    made = against.Evaluation(
        classes=NAMES,
        thresholds=np.full(n, 0.5),
        windows=4,
        counts=Counts(*(np.ones(n, int) for _ in range(3))),
        average_precision=np.full(n, 0.5),
        events=np.ones((n, 4), int),
        event_f1=None,
        calibration=calibration(np.full((4, n), 0.5), np.ones((4, n), bool)),
    )
    print_table(against.as_table(made, "windows"))
    shown = capsys.readouterr().out
    assert is_safe_to_print(shown)
    assert "[bold]x[/bold]" in shown
    assert len(shown) < 20_000
    lines = parse_table(against.as_csv(made), "against.csv", ("class",))
    assert [line["class"] for line in lines] == [*NAMES, "all classes"]
