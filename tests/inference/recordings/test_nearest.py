import csv
import io

import numpy as np
import pytest
import soundfile as sf

from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import RATE, fake_encoder
from tests.training.fakes import tones
from unmute_jax.audio import decode
from unmute_jax.inference.recordings.nearest import as_csv, similar_clips
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.windows import RecordingFile
from unmute_jax.store.embed import embed


@pytest.fixture(autouse=True)
def low_rates(monkeypatch):
    monkeypatch.setattr(decode, "MIN_RATE", RATE)


@pytest.fixture(scope="module")
def stores():
    dataset, encoder = tones(), fake_encoder()
    return [
        embed(encoder, dataset, split, dtype="float32", log=str)
        for split in dataset.splits
    ]


def search(tmp_path, waveform, stores, most=4, overlap=0.0):
    path = tmp_path / "query.wav"
    sf.write(path, waveform, RATE, subtype="FLOAT")
    predictor = Predictor(fake_trained(), fake_encoder(), batch_size=2)
    recording = RecordingFile(path=path, name="query.wav")
    windowing = predictor.windowing(overlap)
    return similar_clips(recording, predictor, windowing, stores, most)


def test_a_clip_of_the_data_set_is_most_similar_to_itself(tmp_path, stores):
    clip = tones().source_of("validation")[3]
    first, *others = search(tmp_path, clip.waveform, stores)
    assert (first.clip, first.split) == (clip.id, "validation")
    assert first.classes == tuple(tones().classes[c] for c in clip.labels)
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert (first.start, first.end) == (0, 1)
    assert [x.similarity for x in others] == sorted(
        (x.similarity for x in others), reverse=True
    )
    assert others[0].similarity < 1


def test_similarities_are_cosines_of_stored_means(tmp_path, stores):
    clip = tones().source_of("test")[0]
    found = search(tmp_path, clip.waveform, stores, most=1000)
    assert len(found) == sum(store.n for store in stores)
    means = {
        (store.key["split"], name): mean
        for store in stores
        for name, mean in zip(store.ids, store.summary().mean, strict=True)
    }
    query = means["test", clip.id]
    for one in found[::10]:
        mean = means[one.split, one.clip]
        cosine = mean @ query / np.linalg.norm(mean) / np.linalg.norm(query)
        assert one.similarity == pytest.approx(float(cosine), abs=1e-5)


def test_the_time_is_that_of_the_most_similar_window(tmp_path, stores):
    clips = tones().source_of("train")
    long = np.concatenate([clips[i].waveform for i in (5, 8, 2)])
    found = {x.clip: x for x in search(tmp_path, long, stores, most=3)}
    times = {clips[i].id: (start, start + 1) for start, i in enumerate((5, 8, 2))}
    assert {name: (x.start, x.end) for name, x in found.items()} == times
    table = list(csv.DictReader(io.StringIO(as_csv([found[clips[8].id]]))))
    assert table[0]["clip"] == clips[8].id
    assert (table[0]["start_s"], table[0]["end_s"]) == ("1", "2")
    assert table[0]["similarity"] == "1.0000"
