import jax
import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import fake_encoder
from tests.training.fakes import SIZES, settings, tones
from unmute_jax.config import Frames
from unmute_jax.errors import InputError
from unmute_jax.inference import clips_of_run
from unmute_jax.inference.clips_of_run import stores_of
from unmute_jax.inference.recordings.predictor import scores_of
from unmute_jax.inference.recordings.thresholds import (
    check_threshold,
    choose,
    notes_on,
    read_thresholds,
    validation_thresholds,
    write_thresholds,
)
from unmute_jax.metrics.ranking import best_thresholds

CLASSES = ("ash", "birch")


def test_thresholds_are_read_by_class(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffclass,threshold\nbirch,0.25\n")
    assert read_thresholds(path, CLASSES, 0.5).tolist() == [0.5, 0.25]
    # Spreadsheets in many languages write such tables.
    path.write_text("class;threshold\nbirch;0,25\nash;0.75\n")
    assert read_thresholds(path, CLASSES, 0.5).tolist() == [0.75, 0.25]
    path.write_text("threshold\tclass\n0.25\tbirch\n")
    assert read_thresholds(path, CLASSES, 0.5).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hi\n", "has no column class, threshold, only hi"),
        ("", "has no column class, threshold, only nothing"),
        ("class;value\nash;1\n", "has no column threshold, only class, value"),
        ("class,threshold\nbrich,1\n", "did you mean 'birch'"),
        ("class,threshold\nash,high\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash,1.5\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash\n", "line 2: has more or fewer fields"),
        (
            "class,threshold\nash,0.5\nash,0.6\n",
            "line 3: ash has the threshold 0.6 here and 0.5 in an earlier line",
        ),
    ],
)
def test_wrong_thresholds_are_named(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_thresholds(path, CLASSES, 0.5)
    with pytest.raises(InputError, match="there is no such file"):
        read_thresholds(tmp_path / "none.csv", CLASSES, 0.5)
    with pytest.raises(InputError, match="--threshold: a threshold is a number"):
        check_threshold(-0.1, "--threshold")


def test_thresholds_are_the_best_on_the_validation_clips(monkeypatch):
    monkeypatch.setattr(clips_of_run, "open_dataset", lambda settings: tones())
    trained, encoder = fake_trained(), fake_encoder()
    stores = stores_of(trained, encoder, "validation", print)
    assert [s.n for s in stores] == [SIZES["validation"]]
    scores = scores_of(
        np.asarray(trained.logits(stores[0].read(range(stores[0].n)))), trained.task
    )
    wanted = best_thresholds(scores, stores[0].labels)
    found = validation_thresholds(trained, encoder, 0.5, least_positives=1, lowest=0.0)
    np.testing.assert_allclose(found.thresholds, wanted, atol=1e-5)
    assert found.decisions == SIZES["validation"]
    np.testing.assert_array_equal(found.positives, stores[0].labels.sum(0))


def test_thresholds_of_a_probe_of_time_steps_are_the_best_on_the_steps(monkeypatch):
    monkeypatch.setattr(clips_of_run, "open_dataset", lambda settings: tones())
    chosen = settings(labels="frames", frames=Frames(median_seconds=0.6))
    trained = fake_trained(settings=chosen.to_dict())
    found = validation_thresholds(
        trained, fake_encoder(), 0.5, least_positives=1, lowest=0.0
    )
    (store,) = stores_of(trained, fake_encoder(), "validation", print)
    inputs = trained.prepare(store.read(range(store.n)))
    logits = np.asarray(jax.jit(trained.apply_frames)(trained.params, inputs))
    scores = 1 / (1 + np.exp(-logits))
    assert store.grid[0] == 5
    padded = np.pad(scores, ((0, 0), (1, 1), (0, 0)), "edge")
    filtered = np.stack([np.median(padded[:, t : t + 3], 1) for t in range(5)], 1)
    # Every tone sounds in all of its clip.
    labels = np.repeat(store.labels[:, None], 5, axis=1)
    wanted = best_thresholds(filtered.reshape(-1, 3), labels.reshape(-1, 3))
    np.testing.assert_allclose(found.thresholds, wanted, atol=1e-5)
    assert found.decisions == 5 * store.n
    assert found.positives.tolist() == store.labels.sum(0).tolist()


def chosen(**changes):
    """Ten clips: ash has five positives, birch has one, at a tiny score."""
    scores = np.stack([np.linspace(0.1, 1, 10), np.full(10, 1e-9)], axis=1)
    scores[3, 1] = 1e-7
    labels = np.zeros((10, 2), np.uint8)
    labels[[3, 6, 7, 8, 9], 0] = labels[3, 1] = 1
    options = {"beta": 1.0, "least_positives": 5, "lowest": 0.05, **changes}
    return choose(scores, labels, (labels > 0).sum(0), 0.5, **options)


def test_a_single_positive_gives_no_threshold():
    found = chosen()
    np.testing.assert_allclose(found.thresholds, [0.65, 0.5])
    assert found.how == ("validation", "default")
    assert found.positives.tolist() == [5, 1]
    np.testing.assert_allclose(found.rates.precision, [1.0, np.nan])
    np.testing.assert_allclose(found.rates.recall, [0.8, 0.0])
    assert notes_on(found, CLASSES, 0.5, 5) == [
        "classes with fewer than 5 positive validation clips have the threshold 0.5: "
        "birch (1)"
    ]
    assert notes_on(chosen(least_positives=1), CLASSES, 0.5, 1) == []


def test_no_threshold_is_below_the_lowest():
    found = chosen(least_positives=1)
    np.testing.assert_allclose(found.thresholds, [0.65, 0.05])
    assert found.how == ("validation", "lowest")


def test_recall_may_weigh_more_than_precision():
    assert chosen(beta=3.0).thresholds[0] == pytest.approx(0.35)
    assert chosen(beta=3.0).rates.recall[0] == 1.0


def test_thresholds_are_written_with_what_is_known_of_them(tmp_path):
    found = chosen()
    write_thresholds(tmp_path, CLASSES, found.thresholds, found)
    assert (tmp_path / "thresholds.csv").read_text() == (
        "class,threshold,chosen_by,decisions,positives,precision,recall,f1\n"
        "ash,0.65,validation,10,5,1.0000,0.8000,0.8889\n"
        "birch,0.5,default,10,1,,0.0000,0.0000\n"
    )
    again = read_thresholds(tmp_path / "thresholds.csv", CLASSES, 0.1)
    np.testing.assert_allclose(again, found.thresholds)
    write_thresholds(tmp_path, CLASSES, found.thresholds)
    assert (tmp_path / "thresholds.csv").read_text().splitlines()[1] == "ash,0.65"
