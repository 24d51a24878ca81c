import jax
import numpy as np
import pytest
import soundfile as sf

from tests import golden
from unmute_jax.datasets import audioset_labels
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.stream import score_recordings
from unmute_jax.inference.recordings.tagger import Tagger, best_tags, window_tags
from unmute_jax.inference.recordings.windows import find_recordings

SECONDS, RATE = 1.0, 16_000
WEIGHTS = golden.ENCODERS / "beats_ft_tiny.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """2.5 s of noise that becomes louder, and 1 s of a tone."""
    folder = tmp_path_factory.mktemp("recordings")
    noise = np.random.default_rng(0).standard_normal(5 * RATE // 2) / 20
    sf.write(folder / "noise.wav", noise * np.linspace(0.1, 1, len(noise)), RATE)
    (folder / "deep").mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    sf.write(folder / "deep" / "tone.flac", tone, RATE)
    return folder


@pytest.fixture(scope="module")
def tagger():
    return Tagger(load_encoder("beats+", WEIGHTS), SECONDS, batch_size=2)


@pytest.fixture(scope="module")
def results(tagger, folder):
    complete = score_recordings(
        find_recordings([folder]), tagger, tagger.windowing(0.0)
    )
    return {one.recording.name: one for one in complete}


def test_scores_are_those_of_the_head_on_each_window(tagger, folder, results):
    waveform, _ = sf.read(folder / "noise.wav", dtype="float32")
    encoder, windows = tagger.encoder, results["noise.wav"].windows
    assert [(w.start, w.end) for w in windows] == [(0, 1), (1, 2), (2, 2.5)]
    for i, window in enumerate(windows):
        part = np.zeros((1, RATE), np.float32)
        samples = waveform[i * RATE : (i + 1) * RATE]
        part[0, : len(samples)] = samples
        logits = encoder.logits(encoder(part, [len(samples)]))
        want = jax.nn.sigmoid(logits)[0]
        np.testing.assert_allclose(window.scores, want, atol=2e-5)


def test_tags_are_the_highest_scores_by_name(tagger, results):
    noise = results["noise.wav"]
    assert len(tagger.classes) == len(audioset_labels.classes())
    scores = np.stack([w.scores for w in noise.windows])
    first, second = best_tags(noise, tagger.classes, 2)
    assert first.score == scores.max()
    assert first.score >= second.score
    assert first.name == tagger.classes[scores.max(0).argmax()]
    assert first.start == noise.windows[scores.max(1).argmax()].start
    rows = list(window_tags(noise, tagger.classes, 3))
    assert len(rows) == 3 * len(noise.windows)
    assert [r.score for r in rows[:3]] == sorted(scores[0])[-1:-4:-1]


def test_outputs_without_names_are_numbered():
    encoder = load_encoder("eat+", golden.ENCODERS / "eat_tiny_ft.pt")
    assert not encoder.classes
    assert Tagger(encoder, SECONDS).classes[:2] == ("class 0", "class 1")


def test_weights_without_a_head_are_refused_in_one_line():
    for encoder in (
        load_encoder("beats", golden.ENCODERS / "beats_tiny.pt"),
        load_encoder("logmel"),
    ):
        with pytest.raises(InputError, match="has no classification head: tags need"):
            Tagger(encoder, SECONDS)
