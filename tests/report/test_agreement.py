import numpy as np
import pytest

from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import agreement
from unmute_jax.report.agreement import Ranking

NAMES = {"beats": "BEATs", "eat": "EAT", "sslam": "SSLAM"}


def ranking(probe, scores, datasets=("urban",)):
    made = np.asarray(scores, float).reshape(len(NAMES), len(datasets))
    bounds = np.full((*made.shape, 2), np.nan)
    return Ranking(probe, tuple(NAMES.values()), datasets, made, bounds)


def test_probes_that_order_alike_correlate_fully():
    same, turned = ranking("mhca", [1, 2, 3]), ranking("stats", [3, 2, 1])
    table = agreement.between_probes([ranking("linear", [10, 20, 30]), same, turned])
    assert table is not None
    values = [r["Kendall's τ-b"].value for r in rows(table)]
    assert values == pytest.approx([1, -1, -1])
    assert [r["Spearman's ρ"].value for r in rows(table)] == pytest.approx(values)


def test_two_encoders_are_too_few():
    few = Ranking("linear", ("A", "B"), ("urban",), np.eye(2, 1), np.ones((2, 1, 2)))
    assert agreement.between_probes([few, few]) is None


@pytest.mark.parametrize(
    ("dataset", "compare", "scores"),
    [
        # In the paper SSLAM is best on urban and BEATs is last.
        ("urban", agreement.with_paper, [0.1, 0.2, 0.3]),
        ("as20k", agreement.with_fine_tuning, [0.1, 0.2, 0.3]),
    ],
)
def test_an_order_is_compared_with_the_papers(dataset, compare, scores):
    cells = dict(zip(NAMES, scores, strict=True))
    grid = grid_of(
        record(dataset=dataset, encoder=e, test=t, probe="linear")
        for e, t in cells.items()
    )
    ours = ranking("linear", scores, (dataset,))
    table, turned = (
        compare(grid, [r]) for r in (ours, ranking("linear", scores[::-1], (dataset,)))
    )
    assert table is not None
    assert turned is not None
    (first,), (second,) = rows(table), rows(turned)
    assert first["encoders"].value == 3
    assert first["Kendall's τ-b"].value == pytest.approx(-second["Kendall's τ-b"].value)
    # A training that diverged is the worst, as a score below all others would be.
    bad, low = (
        compare(grid, [ranking("linear", [0.1, 0.2, x], (dataset,))])
        for x in (np.nan, -1.0)
    )
    assert bad == low
