import numpy as np
import pytest

from unmute_jax.training.search.halving import (
    promoted,
    rung_epochs,
    share_of_epochs,
)


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


def test_the_best_third_of_all_trials_so_far_is_promoted():
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


def test_a_third_goes_on_for_three_times_the_epochs():
    whole = 1 / 9 + 1 / 3 * (1 / 3 - 1 / 9) + 1 / 9 * (1 - 1 / 3)
    assert share_of_epochs(27, 2, 3) == pytest.approx(whole)
    assert share_of_epochs(27, 0, 3) == 1
