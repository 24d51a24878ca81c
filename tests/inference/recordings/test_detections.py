"""What is said of a recording, and the picture of it."""

import dataclasses
import io

import numpy as np
import pytest
from matplotlib import image

from tests.inference.recordings.fakes import fake_listener, save
from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings import detections as results
from unmute_jax.inference.recordings.evidence_plot import (
    evidence_png,
    frequency_bounds,
    spectrogram,
)
from unmute_jax.inference.recordings.stream import hear_all
from unmute_jax.inference.recordings.windows import Window

CUT = fake_listener().cut(0.5)
HALF = np.full(3, 0.5, np.float32)


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    one = save(tmp_path_factory.mktemp("audio"), "sub/noise.wav", 12.0)
    (heard,) = hear_all([one], fake_listener(), CUT)
    return heard


def test_the_best_window_of_each_class_is_told_best_class_first(journal):
    found = results.summarise(journal, fake_listener(), HALF)
    scores = np.stack([w.scores for w in journal.windows])
    assert found.seconds == 12.0
    names = fake_listener().trained.classes
    assert {n: s for n, s, _ in found.best} == dict(
        zip(names, scores.max(0), strict=True)
    )
    assert [s for _, s, _ in found.best] == sorted(scores.max(0), reverse=True)
    for name, score, window in found.best:
        assert window.scores[names.index(name)] == score


def test_the_surest_windows_are_worth_drawing(journal):
    scores = np.stack([w.scores for w in journal.windows])
    drawn = [i for i, _ in results.summarise(journal, fake_listener(), HALF).drawn]
    assert drawn == sorted(drawn)
    assert len(drawn) == results.MOST_PLOTS
    others = np.delete(scores, drawn, axis=0)
    assert scores[drawn].max(1).min() >= others.max()
    never = np.ones(3, np.float32)
    only = results.summarise(journal, fake_listener(), never).drawn
    assert [i for i, _ in only] == [scores.max(1).argmax()]


def test_every_drawn_window_becomes_a_picture(journal, tmp_path):
    never = np.ones(3, np.float32)
    found = results.summarise(journal, fake_listener(), never)
    (path,) = results.draw(tmp_path, found, fake_listener(), CUT, never)
    start = found.drawn[0][1].start
    assert path == tmp_path / "plots" / f"sub/noise.wav-{start:06.1f}s.png"
    assert image.imread(path).shape[2] == 4


def test_tables_are_written_for_every_recording(journal, tmp_path):
    found = results.summarise(journal, fake_listener(), HALF)
    results.write_tables(tmp_path, [found])
    results.write_thresholds(tmp_path, ("ash", "birch"), np.array([0.5, 0.25]))
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + len(found.events) > 1
    raven = (tmp_path / "raven" / "sub" / "noise.wav.txt").read_text().splitlines()
    audacity = tmp_path / "audacity" / "sub" / "noise.wav.txt"
    assert len(raven) == len(rows)
    assert len(audacity.read_text().splitlines()) == 2 * len(found.events)
    assert (tmp_path / "thresholds.csv").read_text().splitlines()[1] == "ash,0.5"


@pytest.mark.parametrize(
    ("above", "said"), [(None, False), (0.0, False), (0.009, False), (0.25, True)]
)
def test_what_lies_above_the_band_is_told_where_it_is_much(journal, above, said):
    found = results.summarise(journal, fake_listener(), HALF)
    found = dataclasses.replace(found, above=above)
    note = results.note(found, 8000.0)
    assert (note is not None) == said
    if note:
        assert "25 % of its energy lies above 8,000 Hz" in note


def test_a_tone_is_where_it_sounds():
    rate = 16_000
    t = np.arange(2 * rate) / rate
    tone = np.where(t >= 1.0, np.sin(2 * np.pi * 3000 * t), 0).astype(np.float32)
    seconds, hertz, level = spectrogram(tone, rate)
    assert level.shape == (len(hertz) - 1, len(seconds) - 1)
    row, column = np.unravel_index(level.argmax(), level.shape)
    assert hertz[row] <= 3000 <= hertz[row + 1]
    assert seconds[column] > 1.0
    before = level[:, seconds[1:] < 0.95]
    assert before.max() == level.min()
    assert level.max() == 0.0


def test_patches_that_overlap_meet_half_way():
    apart = Geometry(0.1, ((0.0, 100.0), (100.0, 300.0)))
    assert frequency_bounds(apart).tolist() == [0, 100, 300]
    over = Geometry(0.1, ((0.0, 120.0), (80.0, 300.0)))
    assert frequency_bounds(over).tolist() == [0, 100, 300]


def test_evidence_is_drawn_in_the_bounds_of_its_cell():
    rate, geometry = 16_000, Geometry(0.5, ((0.0, 1000.0), (1000.0, 8000.0)))
    silence = np.zeros(2 * rate, np.float32)
    window = Window(index=0, start=0.0, end=2.0, waveform=silence)
    empty, maps = np.zeros((4, 2)), np.zeros((4, 2))
    maps[1, 0] = 1.0
    pictures = [
        image.imread(io.BytesIO(evidence_png(window, rate, {"a": m}, geometry, "")))
        for m in (np.maximum(empty, 1e-9), maps)
    ]
    coloured = np.ptp(pictures[1][..., :3], axis=2) > 0.3
    half = coloured.shape[1] // 2
    rows, columns = np.nonzero(coloured[:, : round(0.9 * coloured.shape[1])])
    # From 0.5 to 1 of 2 seconds: left of the middle; in the lower panel.
    assert columns.max() < 1.1 * half
    assert columns.min() > 0.2 * coloured.shape[1]
    assert rows.min() > 0.5 * len(coloured)
