import numpy as np
import pytest
import soundfile as sf

from tests.datasets.layouts import seed_of, write
from tests.datasets.miniatures import MINIATURES, by_id, refusal
from unmute_jax.datasets import load_dataset


def test_the_ground_truth_describes_the_clips(loaded, place_of):
    dataset = loaded("fsd50k")
    found = by_id(dataset)
    assert dataset.classes[0] == "Crowd_(people)"
    assert found["64760"].labels == found["37199"].labels == (0, 2)
    assert found["34"].labels == (1,)
    assert "83299" not in found
    notes = " ".join(dataset.notes)
    assert "dropped: 1 clips of dev have a wrong length (the list of HEAR)" in notes
    assert "3 of the official 200 classes" in notes
    path = place_of("fsd50k") / "FSD50K.dev_audio" / "16399.wav"
    audio, _ = sf.read(path, dtype="float32")
    np.testing.assert_array_equal(found["16399"].waveform, audio[:441_000])


def test_the_layout_of_hugging_face_gives_the_same_clips(tmp_path, loaded):
    root = MINIATURES["fsd50k"].make(tmp_path / "a")
    other = tmp_path / "b"
    (other / "clips").mkdir(parents=True)
    (root / "FSD50K.ground_truth").rename(other / "labels")
    (root / "FSD50K.dev_audio").rename(other / "clips" / "dev")
    for name in ("37199", "175151"):
        path = other / "clips" / "eval" / f"{name}.wav"
        write(path, seed_of(name), 44_100, 0.2)
    copy = load_dataset("fsd50k", data_dir=other)
    assert copy.fingerprints == loaded("fsd50k").fingerprints


def test_pieces_of_a_zip_must_be_joined(tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    (place / "whole.eval_audio.zip").rename(place / "FSD50K.eval_audio.zip")
    (place / "FSD50K.eval_audio.z01").write_bytes(b"PK")
    message = refusal("fsd50k", data_dir=place)
    assert "no FSD50K.eval_audio/*.wav" in message
    assert "zip -s 0 FSD50K.eval_audio.zip --out whole.eval_audio.zip" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"Hi-hat,Crowd_(people)"', '"Hi-het"', "did you mean 'Hi-hat'?"),
        (",val", ",validation", "split is 'validation', not train or val"),
    ],
)
def test_mistakes_in_the_ground_truth_are_named(old, new, expected, tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    table = place / "FSD50K.ground_truth" / "dev.csv"
    table.write_bytes(table.read_bytes().replace(old.encode(), new.encode(), 1))
    message = refusal("fsd50k", data_dir=place)
    assert expected in message
    assert "dev.csv, line" in message
