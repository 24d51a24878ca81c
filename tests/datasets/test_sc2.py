import numpy as np
import pytest

from tests.datasets.layouts import write
from tests.datasets.miniatures import MINIATURES, clips, refusal
from unmute_jax.datasets import load_dataset


def test_the_official_lists_decide_the_split(loaded):
    dataset = loaded("sc2")
    speakers = {"train": "00a1", "validation": "11b2", "test": "22c3"}
    for split, found in clips(dataset).items():
        assert {clip.id.split("/")[1] for clip in found} == {
            f"{speakers[split]}_nohash_0"
        }
        assert [clip.id.split("/")[0] for clip in found] == list(dataset.classes)
        assert [clip.labels for clip in found] == [(i,) for i in range(35)]
    assert dataset.clip_seconds == pytest.approx(0.51)
    assert "train: 35 of the official 84,843 clips" in dataset.notes


def test_another_version_with_other_words_is_refused(tmp_path):
    place = MINIATURES["sc2"].make(tmp_path)
    for path in (place / "visual").iterdir():
        path.unlink()
    assert "there are no clips of visual" in refusal("sc2", data_dir=place)
    write(place / "hello" / "1_nohash_0.wav", 0)
    assert "'hello' is not a word" in refusal("sc2", data_dir=place)


def test_twelve_classes_have_unknown_words_and_silence(loaded):
    dataset = loaded("sc2/twelve")
    found = clips(dataset)
    names = {
        split: [dataset.classes[clip.labels[0]] for clip in found[split]]
        for split in found
    }
    for split, silence in (("train", 3), ("validation", 2), ("test", 1)):
        assert names[split].count("_silence_") == silence
        assert names[split].count("_unknown_") == (1 if split == "test" else 25)
        assert names[split].count("yes") == 1
    silent = [clip for clip in found["validation"] if "running_tap" in clip.id]
    assert [clip.id.rpartition("-")[2] for clip in silent] == ["0.0", "0.5"]
    assert [len(clip.waveform) for clip in silent] == [16_000, 16_000]
    np.testing.assert_array_equal(silent[0].waveform[8000:], silent[1].waveform[:8000])


def test_twelve_classes_need_both_archives(tmp_path):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    (place / "speech_commands_test_set_v0.02.tar.gz").unlink()
    message = refusal("sc2/twelve", data_dir=place)
    assert "speech_commands_test_set_v0.02.tar.gz are not there" in message
    assert load_dataset("sc2", data_dir=place).splits["train"] == 35
