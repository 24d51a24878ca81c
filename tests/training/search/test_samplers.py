import numpy as np

from unmute_jax.results.record import SearchTrial
from unmute_jax.training.search.samplers import Space, sobol, tpe

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


def test_tpe_proposes_where_trials_were_good_and_the_same_again():
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
