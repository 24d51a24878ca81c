import numpy as np
import pytest

from tests.report import made_up
from unmute_jax import metrics
from unmute_jax.report import resampling
from unmute_jax.report.gather import find_records, make_grid


def clips(n=60, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.3).astype(np.uint8)
    # One decimal: many clips share a score.
    logits = np.round(rng.normal(size=(n, classes)) + labels, 1).astype(np.float32)
    return logits, labels


def drawn(n, times=20, seed=1):
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=times).astype(np.float32)


def test_a_draw_scores_as_its_clips_written_out():
    logits, labels = clips()
    counts = drawn(len(logits))
    found = resampling.mean_average_precisions(logits, labels, counts)
    for value, row in zip(found, counts.astype(int), strict=True):
        rows = np.repeat(np.arange(len(row)), row)
        expected = metrics.mean_average_precision(logits[rows], labels[rows]).mean
        assert value == pytest.approx(float(expected), abs=1e-6)


def test_accuracy_of_a_draw():
    logits = np.eye(3, dtype=np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], np.uint8)
    counts = np.array([[1, 1, 1], [0, 1, 2], [3, 0, 0]], np.float32)
    found = resampling.accuracies(logits, labels, counts)
    np.testing.assert_allclose(found, [2 / 3, 1 / 3, 1])


def test_a_class_without_a_drawn_positive_is_left_out():
    logits = np.array([[2.0, 0], [1, 1], [0, 2]], np.float32)
    labels = np.array([[1, 0], [0, 0], [0, 1]], np.uint8)
    counts = np.array([[3, 0, 0], [0, 3, 0]], np.float32)
    found = resampling.mean_average_precisions(logits, labels, counts)
    np.testing.assert_allclose(found, [1, 0])


def run_with(tmp_path, groups=None, seeds=1, saved=True):
    logits, labels = clips()
    for encoder, noise in (("eat", 0.0), ("beats", 0.5)):
        for seed in range(seeds):
            rng = np.random.default_rng(seed + 10)
            shown = logits + noise * rng.normal(size=logits.shape).astype(np.float32)
            score = float(metrics.mean_average_precision(shown, labels).mean)
            made = made_up.record(encoder=encoder, seed=seed, test=score)
            made_up.write(tmp_path, [made])
            if saved:
                made_up.write_predictions(tmp_path, made, shown, labels, groups)
    return make_grid(find_records([tmp_path])).cells


def test_encoders_are_scored_on_the_same_draws(tmp_path):
    beats, eat = run_with(tmp_path / "run")
    assert resampling.basis(eat) == "clips"
    sampler = resampling.Resampler(200, tmp_path / "drawn")
    sampler.prepare([beats, eat])
    a, b = sampler.draws(eat), sampler.draws(beats)
    assert a.shape == (200,)
    assert abs(a.mean() - eat.mean) < 3
    assert np.corrcoef(a, b)[0, 1] > 0.3
    # Cached draws are the same numbers.
    again = resampling.Resampler(200, tmp_path / "drawn")
    np.testing.assert_array_equal(again.draws(eat), a)
    assert len(list((tmp_path / "drawn").glob("*.npy"))) == 2


def test_clips_of_one_source_are_drawn_together(tmp_path):
    def spread(name, groups):
        cells = run_with(tmp_path / name, groups)
        return (
            resampling.Resampler(300, tmp_path / name / "drawn").draws(cells[1]).std()
        )

    thirds = {f"clip {i}": f"site {i // 20}" for i in range(60)}
    one = {f"clip {i}": "the only site" for i in range(60)}
    assert spread("one", one) == pytest.approx(0, abs=1e-9)
    assert spread("thirds", thirds) > 0
    assert spread("each", None) > 0


def test_without_predictions_seeds_are_drawn(tmp_path):
    _, cell = run_with(tmp_path / "a", seeds=3, saved=False)
    assert resampling.basis(cell) == "seeds"
    found = resampling.Resampler(500, tmp_path / "drawn").draws(cell)
    # A seed three times is the farthest that a draw can go.
    assert found.min() >= cell.scores.min() - 1e-9
    assert found.max() <= cell.scores.max() + 1e-9
    _, single = run_with(tmp_path / "b", seeds=1, saved=False)
    assert resampling.basis(single) == ""
    draws = resampling.Resampler(5, tmp_path / "drawn").draws(single)
    np.testing.assert_allclose(draws, single.mean)
