import dataclasses

import jax
import numpy as np
import pytest

from tests.inference.recordings.fakes import RATE, F, T, fake_predictor, fake_trained
from tests.store.fakes import fake_encoder
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.inference import explain
from unmute_jax.inference.recordings.predictor import (
    BAND_SHARE,
    Predictor,
    narrowest_bands,
    scores_of,
)
from unmute_jax.inference.recordings.windows import Window
from unmute_jax.probes import make_probe
from unmute_jax.store.key import as_json
from unmute_jax.training.setup import open_source


def draw(*lengths):
    rng = np.random.default_rng(0)
    return [
        Window(index=i, start=0.0, end=1.0, waveform=rng.standard_normal(n, np.float32))
        for i, n in enumerate(lengths)
    ]


def tokens_of(windows, **wishes):
    waveforms = np.zeros((len(windows), RATE), np.float32)
    for row, window in zip(waveforms, windows, strict=True):
        row[: len(window.waveform)] = window.waveform
    lengths = np.array([len(w.waveform) for w in windows])
    return fake_encoder()(waveforms, lengths, **wishes)


@pytest.mark.parametrize("task", ["multi-label", "single-label"])
@pytest.mark.parametrize("name", ["protobin", "linear"])
def test_scores_are_those_of_the_trained_probe_on_clips(name, task):
    windows = draw(RATE, RATE, 500)
    logits = np.asarray(fake_trained(name).logits(tokens_of(windows)), np.float64)
    if task == "multi-label":
        wanted = 1 / (1 + np.exp(-logits))
    else:
        wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    batch = fake_predictor(name, task).score(windows)
    np.testing.assert_allclose(batch.scores, wanted, atol=1e-5)
    assert batch.finite.tolist() == [True] * 3


def test_a_probe_of_time_steps_scores_each_step():
    predictor, windows = fake_predictor(labels="frames"), draw(RATE, RATE)
    trained = predictor.trained
    inputs = trained.prepare(tokens_of(windows))
    logits = np.asarray(jax.jit(trained.apply_frames)(trained.params, inputs))
    batch = predictor.score(windows)
    np.testing.assert_allclose(batch.steps, 1 / (1 + np.exp(-logits)), atol=1e-5)
    # The score of a window is that of its best step.
    np.testing.assert_allclose(batch.scores, batch.steps.max(1), atol=1e-5)
    assert fake_predictor().score(windows).steps is None
    # Results of versions that did not write the steps are not continued.
    windowing = predictor.windowing(0.5)
    assert predictor.identity(windowing)["steps"]
    assert "steps" not in fake_predictor().identity(windowing)


def test_probes_of_all_layers_read_all_layers():
    windows = draw(RATE, 500)
    tokens = tokens_of(windows, all_layers=True)
    wanted = np.asarray(fake_trained("linear_cgp").logits(tokens))
    scores = fake_predictor("linear_cgp").score(windows).scores
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-wanted)), atol=1e-5)


def test_the_length_policy_is_that_of_the_run():
    settings = Experiment.from_dict(
        {"frontend": {"length_policy": "window", "target_frames": 48}}
    )
    encoder = open_source(settings)
    # A whole second window and a rest of 1.1 s, which no patch fits into.
    whole = encoder.input_samples(1.1)
    windows = draw(whole, 4800)
    alone = [encoder(w.waveform[None]) for w in windows]
    probe = make_probe("protobin", num_classes=3)
    trained = fake_trained(
        params=probe.init(jax.random.key(0), alone[0])["params"],
        encoder=as_json(encoder.identity()),
        geometry=encoder.geometry,
        clip_seconds=1.1,
    )
    predictor = Predictor(trained, encoder, batch_size=2)
    assert predictor.windowing(0.0).samples == whole < 17600
    logits = np.concatenate([trained.logits(tokens) for tokens in alone])
    wanted = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(predictor.score(windows).scores, wanted, atol=1e-5)
    # The short one has no second window.
    valid = np.isfinite(predictor.evidence(windows)).all((1, 3))
    assert valid.tolist() == [[True] * 6, [True] * 3 + [False] * 3]
    with pytest.raises(InputError, match=r"lengths was \{'policy': 'window'"):
        Predictor(trained, open_source(Experiment()))


def test_scores_of_extreme_logits_are_finite():
    extreme = np.array([[-200.0, 0.0, 200.0]], np.float32)
    np.testing.assert_allclose(
        scores_of(extreme, "multi-label"), [[0, 0.5, 1]], atol=1e-7
    )
    np.testing.assert_allclose(
        scores_of(extreme, "single-label"), [[0, 0, 1]], atol=1e-7
    )


def test_evidence_and_its_bands_are_those_of_the_contribution_maps():
    windows, predictor = draw(RATE, RATE), fake_predictor()
    trained = predictor.trained
    prepared = trained.prepare(tokens_of(windows))
    wanted = np.asarray(
        explain.contribution_maps(trained.probe, {"params": trained.params}, prepared)
    )
    found = predictor.evidence(windows)
    assert found.shape == (2, 3, T, F)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    profile = np.maximum(wanted, 0).sum(2)
    bands = predictor.score(windows).bands
    np.testing.assert_array_equal(bands, narrowest_bands(profile))


def test_probes_without_prototypes_give_scores_only():
    predictor = fake_predictor("linear")
    assert predictor.score(draw(RATE)).bands is None
    with pytest.raises(InputError, match="no maps"):
        predictor.evidence(draw(RATE))


def test_an_enlarged_map_is_summed_to_the_tokens():
    trained = fake_trained("proto")
    trained = dataclasses.replace(
        trained, options={**trained.options, "upsample": True}
    )
    predictor = Predictor(trained, fake_encoder(), batch_size=2)
    found = predictor.evidence(draw(RATE))
    assert found.shape == (1, 3, T, F)
    logits = np.asarray(trained.logits(tokens_of(draw(RATE))))
    summed = found.sum((2, 3)) + trained.params["bias"]
    np.testing.assert_allclose(summed, logits, atol=1e-4)


def test_tokens_that_are_not_finite_are_marked():
    (good, bad) = draw(RATE, RATE)
    bad.waveform[5] = np.nan
    assert fake_predictor().score([good, bad]).finite.tolist() == [True, False]


def test_another_encoder_is_refused():
    with pytest.raises(InputError, match="another encoder"):
        Predictor(fake_trained(), fake_encoder(seed=1))


def test_windows_are_as_long_as_the_clips_of_the_training():
    windowing = fake_predictor().windowing(0.75)
    assert (
        windowing.sample_rate,
        windowing.samples,
        windowing.hop,
        windowing.min_samples,
    ) == (RATE, RATE, 200, 1)
    assert windowing.highest_hz == 400.0
    with pytest.raises(InputError, match="overlap=1: must be at least 0 and below 1"):
        fake_predictor().windowing(1.0)


def test_identity_changes_with_whatever_changes_scores():
    predictor = fake_predictor()
    windowing = predictor.windowing(0.5)
    same = Predictor(fake_trained(), fake_encoder()).identity(windowing)
    assert predictor.identity(windowing) == same
    other = Predictor(fake_trained(seed=1), fake_encoder()).identity(windowing)
    assert other["parameters"] != same["parameters"]
    assert predictor.identity(predictor.windowing(0.0)) != same


def test_bands_are_the_narrowest_with_enough_evidence():
    rng = np.random.default_rng(0)
    profile = rng.random((5, 4, 7)).astype(np.float32) ** 4
    profile[0, 0] = 0
    profile[0, 1] = [0, 0, 3, 0, 0, 0, 0]
    profile[0, 2] = [4, 0, 0, 0, 0, 0, 6]
    bands = narrowest_bands(profile)
    assert bands[0, 0].tolist() == [0, 6]
    assert bands[0, 1].tolist() == [2, 2]
    assert bands[0, 2].tolist() == [6, 6]
    for row, (low, high) in zip(
        profile.reshape(-1, 7)[1:], bands.reshape(-1, 2)[1:], strict=True
    ):
        assert row[low : high + 1].sum() >= BAND_SHARE * row.sum() - 1e-6
        if width := high - low:
            narrower = [row[i : i + width].sum() for i in range(8 - width)]
            assert max(narrower) < BAND_SHARE * row.sum()
