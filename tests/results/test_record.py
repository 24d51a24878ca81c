import json
import math

import pytest

from tests.results.records import record
from unmute_jax import results
from unmute_jax.errors import InputError
from unmute_jax.results import SearchTrial

NAN = float("nan")


def strict(path):
    """What a parser of valid JSON reads: it knows no NaN."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_record_is_read_as_it_was_written(tmp_path):
    written = record(
        more={"clip mAP": 0.3},
        thresholds={"ash": 0.5},
        notes=("a", "b"),
        ranges={"learning_rate": (1e-5, 0.3)},
        positives={"ash": 3},
    )
    results.write_record(tmp_path, written)
    (path,) = tmp_path.iterdir()
    assert path.name == written.file_name()
    assert results.read_record(path) == written


def test_a_diverged_training_is_null_in_the_file_and_nan_again(tmp_path):
    lost = record(
        validation=NAN,
        test=NAN,
        more={"clip mAP": NAN},
        per_class={"ash": None, "birch": None, "cedar": None},
        search=({"learning_rate": 0.1, "validation": float("inf")},),
    )
    results.write_record(tmp_path, lost)
    (path,) = tmp_path.iterdir()
    values = strict(path)
    assert (values["validation"], values["test"]) == (None, None)
    read = results.read_record(path)
    for score in (read.validation, read.test, read.more["clip mAP"]):
        assert math.isnan(score)
    assert read.search[0]["validation"] is None


def test_records_of_older_versions_are_read(tmp_path):
    """They held NaN, which is not JSON, and had fewer fields."""
    results.write_record(tmp_path, record(validation=0.5))
    (path,) = tmp_path.iterdir()
    values = json.loads(path.read_text())
    added = ("more", "thresholds", "ranges", "chosen", "steps", "positives", "chance")
    for name in (*added, "never_started", "digest"):
        del values[name]
    path.write_text(json.dumps({**values, "test": NAN}))
    read = results.read_record(path)
    assert math.isnan(read.test)
    assert (read.validation, read.more, read.ranges) == (0.5, {}, {})


def test_a_trial_of_a_search_is_read_as_it_was_written(tmp_path):
    key = {k: getattr(record(), k) for k in results.KEY}
    trial = SearchTrial(
        **key,
        number=3,
        proposed_by="tpe",
        learning_rate=0.1,
        weight_decay=0.0,
        status="diverged",
        epochs=2,
        validation=None,
        scores=((1, 0.5), (2, None)),
        never_started=True,
    )
    assert trial.summary()["never_started"]
    results.write_search_trial(tmp_path, trial)
    (path,) = tmp_path.iterdir()
    assert strict(path)["scores"] == [[1, 0.5], [2, None]]
    assert results.read_search_trial(path) == trial
    other = path.with_name("0123456789abcdef.json")
    other.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="is the record of another trial"):
        results.read_search_trial(other)


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x\.json: not a result record"):
        results.read_record(path)
    with pytest.raises(InputError, match=r"x\.json: not a trial of a search"):
        results.read_search_trial(path)


def test_a_changed_score_is_noticed(tmp_path):
    results.write_record(tmp_path, record(test=0.5))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace('"test": 0.5', '"test": 0.6'))
    with pytest.raises(InputError, match=r"\.json: was changed after it was written"):
        results.read_record(path)
    # Another layout of the same values is no change.
    values = json.loads(path.read_text()) | {"test": 0.5}
    path.write_text(json.dumps(values, sort_keys=True))
    assert results.read_record(path).test == 0.5


def test_a_record_knows_its_file_and_the_file_does_not(tmp_path):
    made = record()
    results.write_record(tmp_path, made)
    (path,) = tmp_path.iterdir()
    assert "path" not in json.loads(path.read_text())
    read = results.read_record(path)
    assert read.path == path
    assert read == made
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "path": None}))
    with pytest.raises(InputError, match="unknown field 'path'"):
        results.read_record(path)
