import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_trained
from unmute_jax.errors import InputError
from unmute_jax.inference.diagnose import (
    cosine_bins,
    diagnose,
    diversity,
    effective_rank,
    random_signs,
)


def test_the_diversity_of_known_vectors():
    vectors = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [2, 2, 2, 2]], np.float32)
    found = diversity(vectors)
    # Pairs: 0, 1, 0.
    middles = (cosine_bins(4)[:-1] + cosine_bins(4)[1:]) / 2
    pairs = np.repeat(middles, found.cosines)
    np.testing.assert_allclose(pairs, [0, 0, 1], atol=1e-9)
    assert found.largest == pytest.approx(1)
    assert found.deviation == pytest.approx(np.std([0, 0, 1]))
    assert diversity(vectors[:1]).cosines == (0,) * len(found.cosines)


def test_the_effective_rank_counts_directions():
    assert effective_rank(np.eye(7, 9)) == pytest.approx(7)
    assert effective_rank(np.ones((7, 9))) == pytest.approx(1, abs=1e-5)


def test_many_pairs_are_counted_in_parts(monkeypatch):
    vectors = np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32)
    whole = diversity(vectors)
    assert sum(whole.cosines) == 50 * 49 // 2
    monkeypatch.setattr("unmute_jax.inference.diagnose.ROWS", 7)
    parts = diversity(vectors)
    assert parts.cosines == whole.cosines
    assert parts.deviation == pytest.approx(whole.deviation)


@pytest.mark.parametrize("d", [10, 256, 768])
def test_random_signs_fill_neighbouring_bins_evenly(d):
    found = diversity(random_signs(400, d))
    assert found.deviation == pytest.approx(1 / np.sqrt(d), rel=0.05)
    steps = np.diff(np.floor(cosine_bins(d) * d / 2 + 1e-6))
    assert len(set(steps)) == 1
    assert sum(found.cosines) == 400 * 399 // 2


def test_wins_scores_and_nearest_clips_are_those_of_all_clips(diagnosed):
    trained, stores, found = diagnosed
    vectors = np.where(trained.params["prototypes"] >= 0, 1, -1)
    bank = vectors / np.sqrt(vectors.shape[1])
    best, wins, clips = [], np.zeros(len(bank)), []
    for store in stores:
        tokens = store.load()
        x = np.asarray(tokens.patches, np.float32)
        x = np.where(tokens.mask[:, :, None, None], x, np.nan)
        similar = x @ bank.T / np.linalg.norm(x, axis=-1, keepdims=True)
        best.append(np.nanmax(similar, (1, 2)))
        real = similar[tokens.mask].reshape(-1, len(bank))
        wins += np.bincount(real.argmax(1), minlength=len(bank))
        clips += store.ids
    best = np.concatenate(best)
    assert found.clips == len(clips)
    assert found.tokens == wins.sum()
    assert found.never == (wins == 0).mean()
    for p, x in enumerate(found.prototypes):
        assert x.wins == pytest.approx(wins[p] / wins.sum())
        assert x.mean == pytest.approx(best[:, p].mean(), abs=1e-5)
        assert x.deviation == pytest.approx(best[:, p].std(), abs=1e-5)
        weights = trained.params["classifier"]["kernel"][p]
        assert x.weights == pytest.approx(weights.tolist())
        assert x.influence == pytest.approx(x.deviation * abs(weights).max())
        order = np.sort(best[:, p])[::-1][:2]
        assert [n.similarity for n in x.nearest] == pytest.approx(order, abs=1e-5)
        assert x.nearest[0].clip == clips[best[:, p].argmax()]


def test_nearest_clips_have_a_position_and_classes(diagnosed):
    trained, stores, found = diagnosed
    step = trained.geometry.seconds_per_step
    labels = {
        i: tuple(np.array(s.classes)[row > 0])
        for s in stores
        for i, row in zip(s.ids, s.labels, strict=True)
    }
    for prototype in found.prototypes:
        for near in prototype.nearest:
            assert near.classes == labels[near.clip]
            assert near.hertz in trained.geometry.frequency_edges_hz
            assert near.seconds[1] - near.seconds[0] == pytest.approx(step)
            assert near.seconds[0] / step == pytest.approx(
                round(near.seconds[0] / step)
            )


def test_probes_without_prototypes_are_refused():
    with pytest.raises(InputError, match="linear has no maps"):
        diagnose(fake_trained("linear"), ())
