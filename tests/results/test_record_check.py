import json

import pytest

from tests.results.records import record
from unmute_jax import results
from unmute_jax.config import Experiment
from unmute_jax.results.typed_json import DamagedFile


def read_with(tmp_path, **changes):
    """Reads a record whose file has been given other values."""
    results.write_record(tmp_path, record(settings=Experiment().to_dict()))
    (path,) = tmp_path.glob("*.json")
    values = json.loads(path.read_text())
    del values["digest"]
    for key, value in changes.items():
        *sections, name = key.split("__")
        inside = values
        for section in sections:
            inside = inside[section]
        inside[name] = value
    path.write_text(json.dumps(values))
    return results.read_record(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": {}}, "seed is an object, must be an integer"),
        ({"validation": "\\input{x}"}, 'validation is "..input{x}", must be a number'),
        ({"facts": 10**19}, "facts is 1000.*, must be an object"),
        ({"facts__encoder": float("nan")}, "facts.encoder is null, must be an object"),
        ({"facts__encoder": {"name": 3}}, "facts.encoder.name is 3, must be a text"),
        ({"facts__clips": {}}, "facts.clips: has no validation"),
        ({"facts__devices": 1}, "facts.devices is 1, must be a text"),
        ({"settings__epochs": "x"}, 'settings.epochs is "x", must be an integer'),
        ({"settings__loss": []}, "settings.loss is a list, must be an object"),
        (
            {"settings__optimizer__learning_rates": [0.1, "x"]},
            r'settings.optimizer.learning_rates\[1\] is "x", must be a number',
        ),
        ({"settings": {}}, "settings: has no epochs"),
        ({"search": [{"validation": []}]}, r"search\[0\].validation is a list, must"),
        ({"search": [3]}, r"search\[0\] is 3, must be an object"),
        ({"test": 7.2}, "test is 7.2, must lie between 0 and 1"),
        ({"per_class": {"ash": -1}}, "per_class.ash is -1, must lie between 0 and 1"),
        ({"per_class": {"ash": "x"}}, 'per_class.ash is "x", must be a number or null'),
        ({"notes": "abc"}, 'notes is "abc", must be a list'),
        ({"ranges": {"learning_rate": [1]}}, "ranges.learning_rate is a list, must be"),
    ],
)
def test_a_wrong_value_is_named_with_file_field_and_type(changes, message, tmp_path):
    with pytest.raises(DamagedFile, match=rf"[0-9a-f]{{16}}\.json: {message}"):
        read_with(tmp_path, **changes)


def test_settings_of_other_versions_are_read(tmp_path):
    older = {k: v for k, v in Experiment().to_dict().items() if k != "frames"}
    found = read_with(tmp_path, settings=older | {"unheard_of": [1]})
    assert found.settings == older | {"unheard_of": [1]}


def test_scores_may_be_off_by_rounding(tmp_path):
    assert read_with(tmp_path, test=1 + 1e-9).test == 1 + 1e-9
