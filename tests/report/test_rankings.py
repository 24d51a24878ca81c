import numpy as np
import pytest

from tests.report.made_up import PROBES, grid_of, record, resampler, rows
from unmute_jax.report import drawing, rankings
from unmute_jax.report.intervals import Estimate


def section_of(records):
    grid = grid_of(records)
    return rankings.section(grid, rankings.rank(grid, resampler()))


def test_mean_ranks_share_ties_and_need_complete_data_sets():
    scores = {
        ("urban", "eat"): 0.5, ("urban", "beats"): 0.4, ("desed", "eat"): 0.3,
        ("desed", "beats"): 0.3, ("spass", "eat"): 0.1,
    }  # fmt: skip
    made = [record(dataset=d, encoder=e, test=t) for (d, e), t in scores.items()]
    section = section_of(made)
    table = section.tables[0]
    ranks = {r["encoder"].text: r["linear"].value for r in rows(table)}
    assert ranks == pytest.approx({"EAT": 1.25, "BEATs": 1.75})
    assert table.note == (
        "Means over desed, urban, which most cells have; spass left out. A dash: the "
        "probe was not run with this encoder. Probes that were not run on all of these "
        "data sets are left out. stats was not run with two encoders."
    )
    assert "Rank correlations need 3 encoders" in section.paragraphs[-1]


def test_one_encoder_has_no_rank():
    section = section_of([record()])
    assert not section.tables
    assert not section.pictures
    assert "two encoders on one data set" in section.paragraphs[-1]


def test_intervals_are_explained_per_data_set():
    made = [
        record(dataset=d, encoder=e, seed=s)
        for d, e, s in [
            ("urban", "eat", 0), ("urban", "eat", 1), ("urban", "beats", 0),
            ("urban", "beats", 1), ("desed", "eat", 0), ("desed", "beats", 0),
        ]
    ]  # fmt: skip
    text = section_of(made).paragraphs[1]
    assert "of nothing (desed); of seeds (urban)" in text


def test_all_mean_ranks_are_over_the_same_data_sets():
    kinds = [("urban", "linear"), ("desed", "linear"), ("urban", "mhca")]
    made = [
        record(dataset=d, probe=p, encoder=e, test=0.3 + 0.1 * (e == "eat"))
        for d, p in kinds
        for e in ("eat", "beats")
    ]
    table = section_of(made).tables[0]
    assert table.columns == ("encoder", "linear", "mhca")
    assert table.note.startswith("Means over urban, which most cells have; desed left")


def test_a_row_is_an_encoder_and_no_line_joins_two(monkeypatch):
    figures = []

    def keep(name, alt, figure):
        figures.append(figure)
        return drawing.Picture(name=name, alt=alt, png=b"")

    monkeypatch.setattr(drawing, "picture", keep)
    made = [record(encoder=e, probe=p) for e in ("eat", "beats") for p in PROBES]
    section_of(made)
    (figure,) = figures
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == list(PROBES)
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    assert labels == ["BEATs", "EAT"]
    points = [line for line in panels[0].lines if line.get_marker() != "None"]
    assert [len(line.get_xdata()) for line in points] == [1, 1]


def test_ranks_lie_between_encoders_that_are_known_to_be_better_and_worse():
    def difference(value):
        return Estimate(value, 0.0, ((1.0, 50),))

    far, near = difference(10.0), difference(1.0)
    found = rankings.bounds(3, {(0, 1): far, (0, 2): far, (1, 2): near})
    assert found.tolist() == [[1, 1], [2, 3], [2, 3]]
    # 2.2 deviations are enough for two encoders, and not for ten.
    some = difference(2.2)
    assert rankings.bounds(2, {(0, 1): some}).tolist() == [[1, 1], [2, 2]]
    assert rankings.bounds(10, {(0, 1): some})[0].tolist() == [1, 10]
    # An encoder that was tested on other clips may have any rank.
    assert rankings.bounds(3, {(0, 1): far}).tolist() == [[1, 2], [2, 3], [1, 3]]
    nothing = Estimate(10.0, 0.0, ())
    assert np.isnan(rankings.bounds(2, {(0, 1): nothing})).all()
