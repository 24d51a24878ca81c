import io

import librosa
import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.evidence_plot import (
    BANDS,
    evidence_png,
    frequency_bounds,
    mel_spectrogram,
)
from unmute_jax.inference.recordings.windows import Window

WHOLE = Geometry(0.1, ((20.0, 8000.0),))


@pytest.mark.parametrize("rate", [16_000, 32_000])
def test_a_tone_is_in_its_band_and_at_its_time(rate):
    t = np.arange(2 * rate) / rate
    tone = np.where(t >= 1.0, np.sin(2 * np.pi * 3000 * t), 0).astype(np.float32)
    level = mel_spectrogram(tone, rate, WHOLE)
    assert level.shape == (BANDS, 101)
    row, column = np.unravel_index(level.argmax(), level.shape)
    centres = librosa.mel_frequencies(BANDS + 2, fmin=20, fmax=8000, htk=True)
    assert centres[row] < 3000 < centres[row + 2]
    assert 0.02 * column > 1.0
    assert level[:, :47].max() == level.min() == pytest.approx(-70)
    assert level.max() == 0.0


@pytest.mark.parametrize("samples", [1, 20, 400])
def test_the_shortest_windows_and_narrowest_bands_have_a_spectrogram(samples):
    narrow = Geometry(0.1, ((0.0, 200.0), (200.0, 400.0)))
    level = mel_spectrogram(np.ones(samples, np.float32), 800, narrow)
    assert level.shape == (BANDS, 1 + samples // 16)
    assert np.isfinite(level).all()


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
    # It lasts from 0.5 to 1 of 2 seconds, left of the middle, in the lower panel.
    assert columns.max() < 1.1 * half
    assert columns.min() > 0.2 * coloured.shape[1]
    assert rows.min() > 0.5 * len(coloured)


def test_names_with_dollar_signs_are_no_formulas():
    silence = np.zeros(16_000, np.float32)
    window = Window(index=0, start=0.0, end=1.0, waveform=silence)
    maps = {r"a $\bad$ b": np.ones((1, 1))}
    assert evidence_png(window, 16_000, maps, WHOLE, r"$/\bad$.wav").startswith(
        b"\x89P"
    )


def test_late_times_are_told_apart(monkeypatch):
    figures = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *_, **__: figures.append(figure)
    )
    silence = np.zeros(5000, np.float32)
    window = Window(index=0, start=1902.5, end=1907.5, waveform=silence)
    evidence_png(
        window, 1000, {"a": np.ones((10, 1))}, Geometry(0.5, ((0.0, 500.0),)), ""
    )
    (figure,) = figures
    figure.draw_without_rendering()
    (axis,) = (a for a in figure.axes if a.get_xlabel() == "time (s)")
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert "1904" in labels
    assert len(set(labels)) == len(labels)
