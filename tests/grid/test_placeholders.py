"""What an estimate uses where a data set is not here."""

import pytest

from unmute_jax.config import Experiment
from unmute_jax.grid import placeholders


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 1), ({"folds": "groups"}, None), ({"folds": "5", "test_fold": 2}, 1)],
)
def test_only_the_data_set_tells_how_many_folds_its_groups_make(options, count):
    settings = Experiment.from_dict(
        {"dataset": "folder:/nowhere", "dataset_options": options}
    )
    assert placeholders.protocol_count(settings) == count
