import pathlib
import webbrowser

from tests.report.page_reader import Page
from unmute_jax.report.page import FOLDED_ROWS, Picture, Section, html_page, open_page
from unmute_jax.report.tables import Field, Table

HOSTILE = "<script>alert('x')</script> & \"quoted\""


def section(name, rows=(), **changes):
    table = Table(
        name="t", title=HOSTILE, columns=(HOSTILE, "score"), rows=tuple(rows),
        note=HOSTILE,
    )  # fmt: skip
    facts = {
        "title": HOSTILE,
        "paragraphs": (HOSTILE,),
        "pictures": (Picture(name="p", alt=HOSTILE, png=b"\x89PNG"),),
        "tables": (table,),
    }
    return Section(name=name, **{**facts, **changes})


def row(value=0.5, **changes):
    return (HOSTILE, Field(HOSTILE, value, HOSTILE, strong=True, **changes))


def test_no_text_can_contain_markup():
    text = html_page(HOSTILE, HOSTILE, [section("a", [row()])])
    page = Page(text)
    assert not page.open
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    # The head of a column is in parts, between which a line may be broken.
    whole = Page(text.replace("<wbr>", ""))
    assert whole.text.count(HOSTILE) == 10
    assert page.values == [0.5]


def test_a_page_fetches_nothing_and_its_links_have_targets():
    page = Page(html_page("t", "s", [section(name) for name in "abc"]))
    assert page.links == ["#a", "#b", "#c"]
    assert page.ids >= set("abc")
    assert page.fetched == ["data:image/png;base64,iVBORw=="] * 3


def test_long_tables_are_folded():
    short, long = ([row()] * n for n in (FOLDED_ROWS, FOLDED_ROWS + 1))
    assert "details" not in Page(html_page("t", "s", [section("a", short)])).tags
    assert "details" in Page(html_page("t", "s", [section("a", long)])).tags
    open_page = html_page("t", "s", [section("a", long)], most_rows=len(long))
    assert "details" not in Page(open_page).tags


def test_a_field_without_a_number_has_no_value_to_sort_by():
    page = Page(html_page("t", "s", [section("a", [("name", "diverged")])]))
    assert page.values == []
    assert "diverged" in page.text


def test_heads_of_columns_and_small_print_may_be_broken_into_lines():
    columns = ("encoder", "my_models:<Bird>")
    rows = (("EAT", Field("1.0", 1.0, "[0.5, 1.5]; paper 2.0")),)
    table = Table(name="t", title="T", columns=columns, rows=rows)
    text = html_page("t", "s", [section("a", tables=(table,))])
    assert "my_<wbr>models:<wbr>&lt;Bird&gt;</th>" in text
    assert "<small>[0.5, 1.5]\npaper 2.0</small>" in text


def test_where_there_is_no_browser_one_line_says_so(monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    line = open_page(pathlib.Path("out/report.html"))
    assert line == "no browser can be opened here: open out/report.html elsewhere"
