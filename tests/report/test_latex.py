import re

import pytest

from unmute_jax.report.latex import HEIGHT, LINE, WIDTH, document, escape_latex, latex
from unmute_jax.report.tables import Field, Table

# Points of a digit in \\footnotesize, and of the space between two columns.
DIGIT, SPACE = 4.25, 6.0


def table(*rows, columns=("name", "score"), **changes):
    return Table(name="t", title="Title", columns=columns, rows=rows, **changes)


def scores(encoders, datasets, **changes):
    """A table of scores with ± and an interval."""
    field = Field("64.67 ± 0.30", 64.67, "[63.9, 65.4]")
    rows = [(f"encoder {i}", *[field] * datasets) for i in range(encoders)]
    columns = ("encoder", *(f"set {i}" for i in range(datasets)))
    return table(*rows, columns=columns, **changes)


def bodies(floats):
    """The rows of each float, as lists of cells."""
    found = [re.search(r"\\midrule\n(.*)\\bottomrule", f, re.DOTALL)[1] for f in floats]
    return [[x.split(" & ") for x in body.splitlines()] for body in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rain_&_wind", r"rain\_\&\_wind"),
        ("x^2_{i}", r"x\textasciicircum{}2\_\{i\}"),
        ("50% <noise>", r"50\% \textless{}noise\textgreater{}"),
        ("τ−±×", r"$\tau$$-$$\pm$$\times$"),
        ("église", "église"),
    ],
)
def test_latex_commands_are_escaped(text, wanted):
    assert escape_latex(text) == wanted


def test_numbers_are_aligned_and_small_print_is_below_them():
    (made,) = latex(table(("a", Field("1.0", 1.0, "small", strong=True)), note="Note."))
    assert r"\begin{tabular}{lr}" in made
    assert r"\textbf{1.0} \\[-2pt] \tiny small\end{tabular}" in made
    assert r"\caption{Title. Note.}\label{tab:t}" in made
    assert all(rule in made for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_ten_encoders_on_eight_data_sets_fit_one_float():
    (made,) = latex(scores(10, 5, has_small_print_in_latex=False))
    ((first, *_),) = bodies([made])
    assert len(first) == 6
    assert first[1].startswith(r"64.67\,{\tiny $\pm$ 0.30}")
    assert "63.9" not in made
    # Where there is no room beside the score, ± is below it.
    (made,) = latex(scores(10, 8, has_small_print_in_latex=False))
    ((first, *_),) = bodies([made])
    assert len(first) == 9
    assert r"64.67 \\[-2pt] \tiny $\pm$ 0.30" in first[1]


@pytest.mark.parametrize("datasets", [14, 40])
def test_columns_that_do_not_fit_are_in_a_float_that_repeats_the_names(datasets):
    parts = bodies(latex(scores(3, datasets)))
    assert all(part[0][0] == "encoder 0" for part in parts)
    assert sum(len(part[0]) - 1 for part in parts) == datasets
    for part in parts:
        digits = 5 * DIGIT + SPACE
        assert 9 * DIGIT + len(part[0]) * digits < WIDTH


def test_rows_that_do_not_fit_are_in_another_float():
    parts = bodies(latex(scores(100, 2)))
    assert [row[0] for part in parts for row in part] == [
        f"encoder {i}" for i in range(100)
    ]
    assert max(len(part) for part in parts) * 2 * LINE < HEIGHT


def test_long_texts_are_broken_into_lines_within_names():
    path = "my_models.birds:BirdEncoderLarge/" + "checkpoint_" * 9
    (made,) = latex(table(("setting", path), ("other", path)))
    lines = re.findall(r"[A-Za-z\\_:/.]+", bodies([made])[0][0][1])
    assert max(len(x.replace("\\", "")) for x in lines) * DIGIT < WIDTH
    assert "checkpoint" in made


def test_a_document_empties_the_queue_of_floats():
    made = document([table(("a", "b"))] * 30)
    assert made.count(r"\begin{table}") == 30
    assert made.count(r"\clearpage") == 2
    assert made.startswith("% Needs \\usepackage{booktabs}.")
