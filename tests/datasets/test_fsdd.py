import numpy as np
import soundfile as sf

from tests.datasets.layouts import write
from unmute_jax.datasets import load_dataset


def test_the_index_decides_the_split(loaded):
    dataset = loaded("fsdd")
    for split, indices in (("test", "04"), ("validation", "59"), ("train", "10 49")):
        for clip in dataset.source_of(split):
            digit, _, index = clip.id.split("_")
            assert clip.labels == (int(digit),)
            assert index in indices
    assert "dropped: 1 files are not named DIGIT_SPEAKER_INDEX" in dataset.notes


def test_a_copy_in_flac_is_read(tmp_path):
    name = "7_george_3.flac"
    for digit in range(10):
        for index in (3, 7, 12):
            write(tmp_path / "audio" / f"{digit}_george_{index}.flac", index, 8000)
    dataset = load_dataset("fsdd", data_dir=tmp_path)
    clip = dataset.source_of("test")[7]
    audio, _ = sf.read(tmp_path / "audio" / name, dtype="float32")
    np.testing.assert_array_equal(clip.waveform, audio)
