import numpy as np
import pytest

from unmute_jax.results.record import SearchTrial
from unmute_jax.training.search.halving import promoted, rung_epochs
from unmute_jax.training.search.samplers import (
    OTHER_RATES,
    PROTOTYPE_RATES,
    Space,
    rates_of,
    sobol,
    tpe,
)

SPACE = Space(learning_rate=(1e-4, 1e-1), weight_decay=(1e-5, 1e-3))


def trial(number, rate, score, status="finished", epochs=30):
    return SearchTrial(
        experiment="x",
        dataset="d",
        encoder="e",
        probe="protobin",
        protocol="p",
        seed=0,
        number=number,
        proposed_by="sobol",
        learning_rate=rate,
        weight_decay=1e-4,
        status=status,
        epochs=epochs,
        validation=score,
        scores=((epochs, score),),
    )


def peaked(points):
    """Scores with one best rate, 0.01."""
    return [
        trial(i, p.learning_rate, 1 - 0.2 * abs(np.log10(p.learning_rate / 0.01)))
        for i, p in enumerate(points)
    ]


def test_sobol_points_fill_the_space_evenly():
    points = sobol(SPACE, 25, seed=0)
    rates = np.log10([p.learning_rate for p in points])
    assert len(points) == 25
    assert -4 <= rates.min() < -3.7
    assert -1.3 < rates.max() <= -1
    for low in (-4, -3, -2):
        assert 7 <= ((rates >= low) & (rates < low + 1)).sum() <= 10
    assert sobol(SPACE, 25, seed=0) == points
    assert sobol(SPACE, 25, seed=1) != points


def test_tpe_asks_where_trials_were_good_and_asks_the_same_again():
    done = peaked(sobol(SPACE, 25, seed=0))
    points = tpe(SPACE, done, 10, seed=3)
    assert points == tpe(SPACE, done, 10, seed=3)
    assert len({p.learning_rate for p in points}) == 10
    off = np.abs(np.log10([p.learning_rate / 0.01 for p in points]))
    # Points at random would be off by 0.83 on average.
    assert off.mean() < 0.7
    for p in points:
        assert 1e-4 <= p.learning_rate <= 1e-1
        assert 1e-5 <= p.weight_decay <= 1e-3


def test_tpe_keeps_away_from_what_was_stopped_or_diverged():
    done = [
        trial(i, p.learning_rate, 0.9, "finished")
        if p.learning_rate < 1e-2
        else trial(i, p.learning_rate, None, "diverged", epochs=3)
        for i, p in enumerate(sobol(SPACE, 25, seed=0))
    ]
    rates = [p.learning_rate for p in tpe(SPACE, done, 10, seed=0)]
    assert np.median(rates) < 1e-2


@pytest.mark.parametrize(
    ("epochs", "halvings", "reduction", "wanted"),
    [
        (30, 2, 3, (3, 10, 30)),
        (30, 0, 3, (30,)),
        (4, 1, 2, (2, 4)),
        (2, 4, 3, (1, 2)),
        (1, 2, 3, (1,)),
    ],
)
def test_rungs(epochs, halvings, reduction, wanted):
    assert rung_epochs(epochs, halvings, reduction) == wanted


def test_the_best_third_of_all_that_came_so_far_goes_on():
    nothing = np.asarray([])
    scores = np.asarray([0.1, 0.5, 0.3, np.nan, 0.9, 0.2])
    first = promoted(scores, nothing, 3)
    # Of five that did not diverge, one; with another reduction, two.
    assert first.tolist() == [False, False, False, False, True, False]
    assert promoted(scores, nothing, 2).sum() == 2
    late = promoted(np.asarray([0.4, 0.95]), scores, 3)
    assert late.tolist() == [False, True]
    assert not promoted(np.asarray([0.2]), scores, 3).any()
    # Of equals, the first: accuracies of few clips are often equal.
    equal = promoted(np.full(6, 0.5), nothing, 3)
    assert equal.tolist() == [True, True, False, False, False, False]
    assert not promoted(np.full(3, 0.5), np.full(6, 0.5), 3).any()
    assert not promoted(np.asarray([np.nan]), nothing, 3).any()


def test_prototypes_have_rates_of_their_own():
    assert rates_of("protobin") == PROTOTYPE_RATES
    assert rates_of("linear") == OTHER_RATES
