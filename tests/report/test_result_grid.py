import math

import numpy as np
import pytest

from tests.report.made_up import grid_of, record, write
from unmute_jax.report.gather import find_records
from unmute_jax.results.record import SearchTrial, write_search_trial


def test_scores_are_means_over_folds_then_seeds():
    made = [
        record(seed=s, protocol=f"fold {f}", test=t)
        for s, f, t in ((0, 1, 0.2), (0, 2, 0.6), (1, 1, 0.4), (1, 2, 0.6))
    ]
    (cell,) = grid_of(made).cells
    np.testing.assert_allclose(cell.scores, [40, 50])
    assert cell.mean == pytest.approx(45)
    assert cell.sd == pytest.approx(np.std([40, 50], ddof=1))
    assert not cell.has_diverged
    assert len(cell.search) == 2 * len(made[0].search)


def test_a_cell_with_a_diverged_seed_has_no_mean():
    made = [record(seed=s, test=t) for s, t in ((0, 0.5), (1, math.nan))]
    (cell,) = grid_of(made).cells
    assert (cell.has_diverged, cell.diverged_seeds) == (True, 1)
    assert math.isnan(cell.mean)


def test_a_single_seed_has_no_spread_unless_nothing_is_trained():
    (trained,) = grid_of([record()]).cells
    assert math.isnan(trained.sd)
    (fixed,) = grid_of([record(learning_rate=None)]).cells
    assert fixed.sd == 0


def test_only_the_same_folds_are_compared():
    grid = grid_of(
        [
            *(record(probe="linear", protocol=f"fold {k}", test=0.3) for k in (1, 2)),
            record(probe="mhca", protocol="fold 1", test=0.5),
            *(record(probe="simpool", protocol=f"fold {k}", test=0.4) for k in (1, 2)),
        ]
    )
    begun, whole = (grid.at("urban", "EAT", p) for p in ("mhca", "simpool"))
    assert begun is not None
    assert whole is not None
    assert grid.linear_baseline(begun) is None
    assert grid.linear_baseline(whole) is grid.at("urban", "EAT", "linear")


def test_histories_of_a_sweep_are_read_where_they_were_saved(tmp_path):
    search = tuple(
        {"learning_rate": rate, "weight_decay": 1e-4, "validation": 0.4}
        for rate in (0.01, 0.03)
    )
    made = record(seed=1, search=search)
    write(tmp_path, [made])
    (found,) = find_records([tmp_path])
    assert found.histories == ()
    for number, scores in enumerate([((1, 0.2), (3, 0.4)), ((1, None),)]):
        trial = SearchTrial(
            experiment=made.experiment, dataset=made.dataset, encoder=made.encoder,
            probe=made.probe, protocol=made.protocol, seed=0, number=number,
            proposed_by="sobol", learning_rate=0.01, weight_decay=1e-4,
            status="finished", epochs=3, validation=0.4, scores=scores,
        )  # fmt: skip
        write_search_trial(tmp_path / "trials", trial)
    (found,) = find_records([tmp_path])
    assert found.histories == ({1: 0.2, 3: 0.4}, {1: None})
