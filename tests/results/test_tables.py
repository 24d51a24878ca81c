import numpy as np
import pytest
from rich.console import Console

from tests.results.records import record
from unmute_jax import results

NAN = float("nan")


def test_folds_are_averaged_before_the_deviation_over_seeds_is_taken():
    scores = {(1, 0): 0.2, (2, 0): 0.8, (1, 1): 0.4, (2, 1): 0.8}
    made = [
        record(protocol=f"fold {fold}", seed=seed, test=test)
        for (fold, seed), test in scores.items()
    ]
    (row,) = results.rows(made, ["linear"])
    assert row.test == pytest.approx(0.55)
    assert row.test_sd == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert row.seconds == 4.0


def test_rows_are_in_the_given_order():
    made = [record(probe=name) for name in ("b", "a")]
    assert [row.probe for row in results.rows(made, ["a", "b", "c"])] == ["a", "b"]


def test_brackets_in_a_note_are_not_taken_for_colours():
    note = "it needs another: pip install 'one[extra]'"
    console = Console(width=200)
    with console.capture() as captured:
        made = [record(notes=(note,), source="a [b]")]
        console.print(results.table(made, ("linear",)))
    assert note in captured.get()
    assert "(a [b])" in captured.get()


def test_ranges_and_trainings_that_never_started_stand_beside_the_table():
    ranges = {"learning_rate": (1e-5, 0.3)}
    console = Console(width=200)
    with console.capture() as captured:
        settings = {**record().settings, "steps": 500}
        made = [record(ranges=ranges, settings=settings, never_started=True)]
        console.print(results.table(made, ("linear",)))
    text = captured.get()
    assert "searched: learning rates 1e-05 to 0.3" in text
    assert "50.00 (!)" in text
    assert "(!) trainings that never left their start" in text
    assert "1 epochs of batch 16, at least 500 steps" in " ".join(text.split())


def unstable(scores):
    """The notes on unstable seeds, for validation scores by protocol."""
    made = [
        record(protocol=protocol, seed=seed, validation=score)
        for protocol, found in scores.items()
        for seed, score in enumerate(found)
    ]
    return [note for note in results.notes_of(made) if "unstable" in note]


def test_seeds_far_below_the_best_are_named():
    # There are 21 validation clips: a third of them may be chance.
    assert unstable({"a": [0.5, 0.6]}) == []
    (note,) = unstable({"a": [0.1, 0.8, 0.5, NAN]})
    assert "linear: unstable at learning rate 0.1" in note
    assert "validates at 80.0, but seed 0 10.0, seed 3 diverged;" in note
    (note,) = unstable({"a": [0.8, 0.65], "b": [0.7, 0.2], "c": [0.3, 0.0]})
    assert "on b: the best seed validates at 70.0, but seed 1 20.0;" in note


def test_a_record_that_does_not_know_its_encoder_has_a_table():
    console = Console(width=200)
    with console.capture() as captured:
        console.print(results.table([record(facts={})], ("linear",)))
    assert "tones (made up)" in captured.get()
