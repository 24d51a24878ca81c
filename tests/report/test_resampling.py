import numpy as np
import pytest

from tests.report import made_up
from unmute_jax import metrics
from unmute_jax.report import resampling
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.resampling import Basis
from unmute_jax.results import predictions


def clips(n=60, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.3).astype(np.uint8)
    # One decimal: many clips share a score.
    logits = np.round(rng.normal(size=(n, classes)) + labels, 1).astype(np.float32)
    return logits, labels


def test_some_clips_score_as_they_do_alone():
    logits, labels = clips()
    rng = np.random.default_rng(1)
    counts = (rng.random((20, len(logits))) < 0.6).astype(np.uint8)
    found = resampling.mean_average_precisions(logits, labels, counts)
    for value, row in zip(found, counts == 1, strict=True):
        expected = metrics.mean_average_precision(logits[row], labels[row]).mean
        assert value == pytest.approx(float(expected), abs=1e-6)


def test_accuracy_of_some_clips():
    logits = np.eye(3, dtype=np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], np.uint8)
    counts = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 0]], np.uint8)
    found = resampling.accuracies(logits, labels, counts)
    np.testing.assert_allclose(found, [2 / 3, 1 / 2, 1])


def test_a_class_without_a_positive_is_left_out():
    logits = np.array([[2.0, 0], [1, 1], [0, 2]], np.float32)
    labels = np.array([[1, 0], [0, 0], [0, 1]], np.uint8)
    counts = np.array([[1, 0, 0], [0, 1, 0]], np.uint8)
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


def test_scores_without_blocks_are_cached(tmp_path):
    beats, eat = run_with(tmp_path / "run")
    assert resampling.basis(eat) == Basis("clips", (60,), has_seeds=False)
    sampler = resampling.Resampler(tmp_path / "drawn")
    sampler.prepare([beats, eat])
    assert len(list((tmp_path / "drawn").glob("*.npy"))) == 2
    again = resampling.Resampler(tmp_path / "drawn")
    assert again.score(eat) == sampler.score(eat)
    assert len(list((tmp_path / "drawn").glob("*.npy"))) == 2


def test_clips_of_one_source_are_left_out_together(tmp_path):
    def spread(name, groups):
        cells = run_with(tmp_path / name, groups)
        sampler = resampling.Resampler(tmp_path / name / "drawn")
        return sampler.score(cells[1]).variance ** 0.5

    def sites(count):
        return {f"clip {i}": f"site {i % count}" for i in range(60)}

    # Clips of a site have nothing in common here, so that sites vary like clips.
    each = spread("each", None)
    assert each > 1
    assert 0.4 * each < spread("six", sites(6)) < 2.5 * each
    # One site says nothing about others: clips are left out.
    assert spread("one", sites(1)) == spread("four", sites(4)) == each


def test_groups_are_left_out_if_there_are_five(tmp_path):
    def of(count):
        groups = {f"clip {i}": f"site {i % count}" for i in range(60)}
        return resampling.basis(run_with(tmp_path / str(count), groups, seeds=2)[1])

    assert of(5) == Basis("groups", (5,), has_seeds=True)
    assert of(5).text == "groups, seeds"
    assert of(4) == Basis("clips", (60,), has_seeds=True, has_few_groups=True)
    assert of(60) == Basis("clips", (60,), has_seeds=True)


def test_folds_are_left_out_if_there_are_five_and_no_predictions(tmp_path):
    def cell(folds):
        for fold in range(folds):
            made = [made_up.record(protocol=f"fold {fold}", test=0.4 + 0.02 * fold)]
            made_up.write(tmp_path / str(folds), made)
        (found,) = make_grid(find_records([tmp_path / str(folds)])).cells
        return found

    assert resampling.basis(cell(4)) == Basis("", (), has_seeds=False)
    five = cell(5)
    assert resampling.basis(five) == Basis("folds", (5,), has_seeds=False)
    sampler = resampling.Resampler(tmp_path / "drawn")
    expected = np.var([40, 42, 44, 46, 48], ddof=1) / 5
    assert sampler.score(five).variance == pytest.approx(expected)


def test_blocks_leave_out_whole_groups_each_once():
    groups = [f"site {i % 7}" for i in range(30)]
    counts = resampling.block_counts(groups, np.random.default_rng(0))
    assert counts.shape == (7, 30)
    left_out = [{groups[i] for i in np.flatnonzero(row == 0)} for row in counts]
    assert sorted(name for names in left_out for name in names) == sorted(set(groups))
    many = [f"clip {i}" for i in range(120)]
    counts = resampling.block_counts(many, np.random.default_rng(0))
    # At most 50 blocks: 40 of three clips.
    assert counts.shape == (40, 120)
    assert set((counts == 0).sum(1)) == {3}
    assert (counts == 0).sum(0).tolist() == [1] * 120


def test_differences_are_known_better_than_scores_on_the_same_clips(tmp_path):
    beats, eat = run_with(tmp_path / "run", seeds=2)
    sampler = resampling.Resampler(tmp_path / "drawn")
    gain = sampler.difference(eat, beats)
    assert gain.value == pytest.approx(eat.mean - beats.mean)
    # Apart, the variances of the clips would add.
    apart = sum(sampler.score(cell).parts[0][0] for cell in (eat, beats))
    assert gain.parts[0][0] < 0.9 * apart
    # One part from clips, and one from the seeds of each probe.
    assert [freedom for _, freedom in gain.parts] == [29, 1, 1]
    same = sampler.difference(eat, eat)
    assert (same.value, same.variance) == (0, 0)


def test_without_predictions_seeds_vary(tmp_path):
    _, cell = run_with(tmp_path / "a", seeds=3, saved=False)
    assert resampling.basis(cell) == Basis("", (), has_seeds=True)
    sampler = resampling.Resampler(tmp_path / "drawn")
    assert sampler.score(cell).variance == pytest.approx(cell.sd**2 / 3)
    _, single = run_with(tmp_path / "b", seeds=1, saved=False)
    assert resampling.basis(single).text == ""
    assert sampler.score(single).variance == 0


def test_time_steps_of_a_clip_are_left_out_together(tmp_path):
    rng = np.random.default_rng(0)
    # Clips are told apart with ease or not at all: their time steps agree.
    ease = np.repeat(rng.normal(scale=2, size=12), 25)
    for encoder, steps in (("eat", 25), ("beats", 20)):
        rows = np.flatnonzero(np.arange(300) % 25 < steps)
        labels = (rng.random((len(rows), 2)) < 0.3).astype(np.uint8)
        logits = labels * ease[rows, None] + rng.normal(size=labels.shape)
        score = float(metrics.mean_average_precision(logits, labels).mean)
        made = made_up.record(encoder=encoder, metric="frame mAP", test=score)
        made_up.write(tmp_path, [made])
        predictions.write_predictions(
            tmp_path / "predictions", made.file_name(),
            [f"clip {k // 25}" for k in rows], {}, labels, logits,
        )  # fmt: skip
    beats, eat = make_grid(find_records([tmp_path])).cells
    assert resampling.basis(eat) == Basis("clips", (12,), has_seeds=False)
    sampler = resampling.Resampler(tmp_path / "drawn")
    [(variance, freedom)] = sampler.score(eat).parts
    assert freedom == 11
    assert variance**0.5 > 3
    # Encoders with other time steps are compared on the same clips.
    assert eat.has_clips_of(beats)
    assert not eat.has_predictions_of(beats)
    assert [n for _, n in sampler.difference(eat, beats).parts] == [11]
