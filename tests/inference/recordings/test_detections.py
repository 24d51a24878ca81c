import dataclasses

import numpy as np
import pytest
from matplotlib import image

from tests.inference.recordings.fakes import fake_predictor, save
from unmute_jax.inference.recordings import detections
from unmute_jax.inference.recordings.stream import score_recordings
from unmute_jax.inference.recordings.windows import RecordingFile

WINDOWING = fake_predictor().windowing(0.5)
HALF = np.full(3, 0.5, np.float32)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    one = save(tmp_path_factory.mktemp("audio"), "sub/noise.wav", 12.0)
    (complete,) = score_recordings([one], fake_predictor(), WINDOWING)
    return complete


def test_classes_are_listed_with_their_best_window_best_class_first(results):
    summary = detections.summarise(results, fake_predictor(), HALF)
    scores = np.stack([w.scores for w in results.windows])
    assert summary.seconds == 12.0
    names = fake_predictor().trained.classes
    assert {n: s for n, s, _ in summary.best} == dict(
        zip(names, scores.max(0), strict=True)
    )
    assert [s for _, s, _ in summary.best] == sorted(scores.max(0), reverse=True)
    for name, score, window in summary.best:
        assert window.scores[names.index(name)] == score


def test_windows_with_the_highest_detections_are_plotted(results):
    scores = np.stack([w.scores for w in results.windows])
    summary = detections.summarise(results, fake_predictor(), HALF)
    drawn = [i for i, _ in summary.plotted]
    assert drawn == sorted(drawn)
    assert len(drawn) == detections.MOST_PLOTS
    others = np.delete(scores, drawn, axis=0)
    assert scores[drawn].max(1).min() >= others.max()
    never = np.ones(3, np.float32)
    only = detections.summarise(results, fake_predictor(), never).plotted
    assert [i for i, _ in only] == [scores.max(1).argmax()]


def test_a_probe_of_time_steps_detects_events_at_its_steps(tmp_path):
    one, predictor = save(tmp_path, "noise.wav", 6.0), fake_predictor(labels="frames")
    (complete,) = score_recordings([one], predictor, WINDOWING)
    summary = detections.summarise(complete, predictor, HALF)
    step = predictor.trained.geometry.seconds_per_step
    ends = [decided.end for decided in summary.decided]
    assert [decided.start for decided in summary.decided] == [0.0, *ends[:-1]]
    assert ends[-1] == pytest.approx(6.0)
    assert min(e.offset - e.onset for e in summary.events) < 0.9
    by_step = detections.summarise(complete, predictor, HALF, merge=False)
    lengths = {round((e.offset - e.onset) / step, 3) for e in by_step.events}
    assert 0.5 <= min(lengths) <= 1 <= max(lengths) <= 1.5
    # Windows are decided on for other probes.
    (complete,) = score_recordings([one], fake_predictor(), WINDOWING)
    summary = detections.summarise(complete, fake_predictor(), HALF)
    assert summary.decided is complete.windows


def test_every_plotted_window_becomes_a_picture(results, tmp_path):
    never = np.ones(3, np.float32)
    summary = detections.summarise(results, fake_predictor(), never)
    (path,) = detections.write_plots(
        tmp_path, summary, fake_predictor(), WINDOWING, never
    )
    start = summary.plotted[0][1].start
    assert path == tmp_path / "plots" / f"sub/noise.wav-{start:06.1f}s.png"
    assert image.imread(path).shape[2] == 4


def test_tables_are_written_for_every_recording(results, tmp_path):
    summary = detections.summarise(results, fake_predictor(), HALF)
    detections.write_tables(tmp_path, [summary])
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + len(summary.events) > 1
    raven = (tmp_path / "raven" / "sub" / "noise.wav.txt").read_text().splitlines()
    audacity = tmp_path / "audacity" / "sub" / "noise.wav.txt"
    assert len(raven) == len(rows)
    assert len(audacity.read_text().splitlines()) == 2 * len(summary.events)


def test_files_of_an_earlier_call_stay_and_are_told(results, tmp_path):
    summary = detections.summarise(results, fake_predictor(), HALF)
    assert detections.write_tables(tmp_path, [summary]) == []
    assert detections.write_tables(tmp_path, [summary]) == []
    other = RecordingFile(path=tmp_path / "x.wav", name="x.wav")
    (note,) = detections.write_tables(
        tmp_path, [dataclasses.replace(summary, recording=other)]
    )
    assert note == (
        f"{tmp_path}: 2 files in audacity and raven are of an earlier call; "
        "predictions.csv has only the recordings of this one"
    )
    assert (tmp_path / "raven" / "sub" / "noise.wav.txt").is_file()


@pytest.mark.parametrize(
    ("share", "is_noted"), [(None, False), (0.0, False), (0.009, False), (0.25, True)]
)
def test_much_energy_above_the_band_is_noted(results, share, is_noted):
    summary = detections.summarise(results, fake_predictor(), HALF)
    summary = dataclasses.replace(summary, share_above=share)
    notes = detections.notes_on_sound(summary, 8000.0)
    assert len(notes) == is_noted
    assert all("25 % of its energy lies above 8,000 Hz" in note for note in notes)


def test_channels_that_cancel_are_noted(results):
    summary = detections.summarise(results, fake_predictor(), HALF)
    summary = dataclasses.replace(summary, share_above=None)
    assert detections.notes_on_sound(summary, 8000.0) == []
    summary = dataclasses.replace(summary, channels_cancel=True)
    (note,) = detections.notes_on_sound(summary, 8000.0)
    assert "its channels cancel each other out" in note
