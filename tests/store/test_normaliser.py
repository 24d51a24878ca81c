"""Inputs are normalised with the statistics of the training split."""

import dataclasses

import numpy as np
import pytest

from tests.store.fakes import FakeEncoder, fake_dataset, fake_encoder
from unmute_jax.store.embed import embed
from unmute_jax.store.normaliser import FeatureNormaliser

OFFSET, SCALE = 1000.0, 0.1


class FarFromZero(FakeEncoder):
    """Features whose mean is ten thousand times their standard deviation."""

    def tokens(self, params, spectrogram, extent, *, all_layers):
        tokens = super().tokens(params, spectrogram, extent, all_layers=all_layers)
        scale = SCALE / 20**0.5  # Of 20 samples of noise, each of variance 1.
        return dataclasses.replace(
            tokens,
            patches=OFFSET + scale * tokens.patches,
            cls=OFFSET + scale * tokens.cls,
        )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokens")
    encoder = FarFromZero(**vars(fake_encoder()))
    return [
        embed(
            encoder,
            fake_dataset(clips, seed=clips),
            "train",
            root=root,
            dtype="float32",
            log=str,
        )
        for clips in (70, 20)
    ]


@pytest.fixture(scope="module")
def fitted(stores):
    return FeatureNormaliser.fit(stores)


def test_a_small_deviation_from_a_large_mean_is_measured(stores, fitted):
    loaded = [store.load() for store in stores]
    real = np.concatenate([t.patches[t.mask].reshape(-1, t.patches.shape[-1])
                           for t in loaded]).astype(np.float64)  # fmt: skip
    np.testing.assert_allclose(fitted.token_mean, real.mean(0), atol=1e-4)
    np.testing.assert_allclose(fitted.token_sd, real.std(0), rtol=1e-3)
    vectors = np.concatenate([store.summary().cls for store in stores])
    vectors = vectors.astype(np.float64)
    np.testing.assert_allclose(fitted.summary_mean.cls[0], vectors.mean(0), rtol=1e-7)
    np.testing.assert_allclose(fitted.summary_sd.cls[0], vectors.std(0), rtol=1e-6)


def test_normalised_training_data_have_mean_zero_and_deviation_one(stores, fitted):
    parts = [fitted.apply(store.load()) for store in stores]
    real = np.concatenate([t.patches[t.mask].reshape(-1, t.patches.shape[-1])
                           for t in parts]).astype(np.float64)  # fmt: skip
    np.testing.assert_allclose(real.mean(0), 0, atol=2e-3)
    np.testing.assert_allclose(real.std(0), 1, rtol=1e-3)
    for tokens in parts:
        norms = np.linalg.norm(tokens.patches, axis=-1)
        np.testing.assert_allclose(tokens.inverse_norms * norms, 1, rtol=1e-5)
    summaries = [fitted.apply(store.summary()) for store in stores]
    for name in ("cls", "mean", "max", "std", "band_mean", "band_max", "band_std"):
        x = np.concatenate([getattr(s, name) for s in summaries]).astype(np.float64)
        np.testing.assert_allclose(x.mean(0), 0, atol=5e-3)
        np.testing.assert_allclose(x.std(0), 1, rtol=1e-3)


def test_it_is_restored_from_plain_arrays(fitted, stores):
    again = FeatureNormaliser.from_arrays(dataclasses.asdict(fitted))
    ours, theirs = (f.apply(stores[0].load()) for f in (again, fitted))
    np.testing.assert_array_equal(ours.patches, theirs.patches)
    np.testing.assert_array_equal(ours.cls, theirs.cls)


def test_a_normaliser_of_tokens_leaves_summaries_alone(stores):
    d = stores[0].grid[2]
    summary = stores[0].summary()
    half = FeatureNormaliser.of_tokens(
        np.zeros(d, np.float32), np.full(d, 2, np.float32)
    )
    np.testing.assert_array_equal(half.apply(summary).band_max, summary.band_max)
    tokens = stores[0].load()
    np.testing.assert_array_equal(half.apply(tokens).patches, tokens.patches / 2)
