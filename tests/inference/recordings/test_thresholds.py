import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import fake_encoder
from tests.training.fakes import SIZES, tones
from unmute_jax.errors import InputError
from unmute_jax.inference import clips_of_run
from unmute_jax.inference.clips_of_run import stores_of
from unmute_jax.inference.recordings.predictor import scores_of
from unmute_jax.inference.recordings.thresholds import (
    check_threshold,
    read_thresholds,
    validation_thresholds,
)
from unmute_jax.metrics.ranking import best_thresholds

CLASSES = ("ash", "birch")


def test_thresholds_are_read_by_class(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffclass,threshold\nbirch,0.25\n")
    assert read_thresholds(path, CLASSES, 0.5).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,value\nash,1\n", "needs the columns class and threshold"),
        ("class,threshold\nbrich,1\n", "did you mean 'birch'"),
        ("class,threshold\nash,high\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash,1.5\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash\n", "needs the columns class and threshold"),
    ],
)
def test_wrong_thresholds_are_named(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_thresholds(path, CLASSES, 0.5)
    with pytest.raises(InputError, match="cannot be read"):
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
    found = validation_thresholds(trained, encoder, 0.5)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
