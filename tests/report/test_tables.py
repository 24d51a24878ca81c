import csv
import io
import math

from unmute_jax.report.tables import (
    NOT_RUN,
    UNKNOWN,
    Field,
    Table,
    as_csv,
    between,
    counted,
    markdown,
    number,
    signed,
)


def table(*rows, columns=("name", "score"), note=""):
    return Table(name="t", title="Title", columns=columns, rows=rows, note=note)


def test_numbers_have_a_true_minus_and_unknown_ones_are_not_dashes():
    assert number(-1.234) == Field("−1.23", -1.234)
    assert number(2.0, 1, sign=True).text == "+2.0"
    assert number(math.nan) == UNKNOWN != NOT_RUN
    assert signed(-0.5) == "−0.50"
    assert between(-1.0, 2.0, 1) == "[−1.0, 2.0]"
    assert between(math.nan, 2.0) == ""
    assert (counted(1, "seed"), counted(2, "seed")) == ("1 seed", "2 seeds")


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_csv_rounds_numbers_as_the_page_does():
    made = table(("a, b", Field("0.33", 1 / 3)), ("c", NOT_RUN), ("d", number(-2 / 3)))
    assert read(as_csv(made)) == [
        {"name": "a, b", "score": "0.33"},
        {"name": "c", "score": "–"},
        {"name": "d", "score": "-0.67"},
    ]


def test_a_csv_has_what_stands_beside_a_number():
    made = table(
        ("a", Field("46.92 ± 0.41", 46.9231, "[40.2, 51.6]; paper 82.54")),
        ("b", Field("+1,234.50†", 1234.4999)),
        ("c", NOT_RUN),
    )
    assert read(as_csv(made)) == [
        {
            "name": "a",
            "score": "46.92",
            "score (as shown)": "46.92 ± 0.41 [40.2, 51.6]; paper 82.54",
        },
        {"name": "b", "score": "1234.50", "score (as shown)": "+1,234.50†"},
        {"name": "c", "score": "–", "score (as shown)": "–"},
    ]


def test_a_csv_has_the_number_where_another_one_is_shown():
    # The text rounds to another unit, or in another way.
    made = table(("a", Field("1.2 million", 1.2e6)), ("b", Field("3 of 4", 75.0)))
    assert [r["score"] for r in read(as_csv(made))] == ["1200000.0", "75.0"]


def test_a_pipe_in_a_name_breaks_no_row():
    lines = markdown(table(("x|y",), columns=("a|b",))).splitlines()
    assert lines[2:] == ["| a\\|b |", "|---|", "| x\\|y |"]


def test_markdown_marks_the_best_and_aligns_numbers():
    text = markdown(table(("a", Field("1.0", 1.0, "small", strong=True)), note="Note."))
    assert text.startswith("**Title**\n\n| name | score |\n|---|---:|\n")
    assert "| a | **1.0** (small) |" in text
    assert text.endswith("\n\nNote.\n")
