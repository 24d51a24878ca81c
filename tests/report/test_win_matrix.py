import io
import math

import numpy as np
from matplotlib import image

from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import win_matrix
from unmute_jax.report.comparisons import Comparison
from unmute_jax.report.intervals import Estimate


def two_seeds(**changes):
    test = changes.pop("test")
    return [record(seed=s, test=test + 0.01 * s, **changes) for s in (0, 1)]


def test_shares_are_of_the_configurations_that_are_decided():
    grid = grid_of(
        [
            *two_seeds(probe="linear", encoder="eat", test=0.3),
            *two_seeds(probe="mhca", encoder="eat", test=0.5),
            # Less than a standard deviation apart.
            *two_seeds(probe="linear", encoder="beats", test=0.300),
            *two_seeds(probe="mhca", encoder="beats", test=0.305),
            # Supervised encoders do not count.
            *two_seeds(probe="linear", encoder="eat+", test=0.9),
            *two_seeds(probe="mhca", encoder="eat+", test=0.5),
        ]
    )
    (table,) = win_matrix.section(grid, []).tables
    linear, mhca = rows(table)
    assert (mhca["linear"].text, mhca["linear"].under) == ("100 %", "1 of 1")
    assert linear["mhca"].value == 0
    assert linear["linear"].text == "–"


def test_single_seeds_decide_nothing():
    grid = grid_of([record(probe="linear", test=0.1), record(probe="mhca", test=0.9)])
    section = win_matrix.section(grid, [])
    assert not section.tables
    assert section.paragraphs[-1] == "No configuration here decides between probes."


def compared(first, second, low, high, shared="EAT", **changes):
    """A comparison on one data set, with an interval of about these ends."""
    values = {
        "kind": "probes",
        "datasets": ("urban",),
        "over": "clips, seeds",
        "is_full": True,
        "has_few_groups": False,
        "is_equal": False,
        "diverged": (False, False),
    }
    # With many degrees of freedom, an interval is 1.96 standard deviations wide.
    parts = ((((high - low) / 2 / 1.96) ** 2, 10_000),)
    estimate = Estimate((low + high) / 2, 0.0, parts)
    values |= {"shared": shared, "first": first, "second": second}
    return Comparison(**values | {"estimate": estimate} | changes)


def test_paired_wins_are_intervals_without_zero():
    names = ("linear", "mhca")
    grid = grid_of([record(probe=p, encoder="eat") for p in names])
    comparisons = [
        compared(*names, -5, -1),
        compared(*names, 1, 5, shared="BEATs"),
        compared(*names, 1, 5, shared="ASiT"),
        # Undecided: zero is inside, or the interval is over seeds alone.
        compared(*names, -1, 5, shared="SSLAM"),
        compared(*names, 1, 5, shared="A-MAE", is_full=False),
        # The first diverged, so that there is no difference.
        compared(*names, math.nan, math.nan, shared="Dasheng", diverged=(True, False)),
        # Not counted: a supervised encoder, a mean, and encoders.
        compared(*names, 1, 5, shared="BEATs+"),
        compared(*names, 1, 5, datasets=("urban", "desed")),
        compared("EAT", "BEATs", 1, 5, shared="linear", kind="encoders"),
    ]
    section = win_matrix.section(grid, comparisons)
    (table,) = section.tables
    assert table.name == "wins_paired"
    linear, mhca = rows(table)
    assert (linear["mhca"].text, linear["mhca"].under) == ("50 %", "2 of 4")
    assert mhca["linear"].under == "2 of 4"
    assert [p.name for p in section.pictures] == ["wins_paired"]


def test_shares_of_few_configurations_are_drawn_paler():
    names = ("linear", "mhca")
    grid = grid_of([record(probe=p, encoder="eat") for p in names])

    def darkest(count):
        wins = [compared(*names, -5, -1, shared=f"encoder {i}") for i in range(count)]
        (picture,) = win_matrix.section(grid, wins).pictures
        pixels = image.imread(io.BytesIO(picture.png))[..., :3]
        # The field of linear against mhca, at 0 %, is dark blue; text is grey.
        is_blue = pixels[..., 2] - pixels[..., 0] > 0.03
        return np.median(pixels[is_blue])

    assert darkest(1) > darkest(3) > darkest(5) == darkest(6)
