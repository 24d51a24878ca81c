import pytest

from tests.datasets.layouts import text
from tests.datasets.miniatures import MINIATURES, by_id, class_names, refusal
from unmute_jax.datasets import load_dataset


def test_clips_of_all_lists_are_joined(loaded):
    dataset = loaded("desed")
    found = by_id(dataset)
    clip = found["train/synthetic21_train/soundscapes/0"]
    speech, bell = dataset.classes.index("Speech"), 0
    assert clip.events == ((speech, 0.0, 0.2), (bell, 0.1, 0.25))
    assert clip.labels == (bell, speech)
    # A weak label without an event, and a clip whose events are in another list.
    weak = found["Y00pbt6aJV8Y_350.000_360.000"]
    assert (class_names(dataset, weak), weak.events) == ({"Speech", "Dishes"}, ())
    assert found["Y-AbCdEfGhI__350.000_360.000"].events == ((4, 0.1, 0.2),)
    assert found["Y11pbt6aJV8Y_0.000_10.000"].labels == ()
    # An event that extends beyond the end of its clip.
    frying = found["train/synthetic21_train/soundscapes/1"].events
    assert frying == ((dataset.classes.index("Frying"), 0.0, pytest.approx(0.3)),)
    for note in (
        "dropped: 1 clips are in lists without labels",
        "dropped: 1 listed clips of train are not there",
        "dropped: 1 events end before they begin",
        "dropped: 1 rows name a clip again",
    ):
        assert note in dataset.notes


def test_without_the_public_evaluation_recordings_are_the_test(tmp_path):
    place = MINIATURES["desed"].make(tmp_path)
    (place / "metadata" / "eval" / "public.tsv").unlink()
    dataset = load_dataset("desed", data_dir=place)
    assert [clip.id for clip in dataset.source_of("test")] == [
        "Y11pbt6aJV8Y_0.000_10.000"
    ]
    assert dataset.splits["validation"] == 1
    (protocol,) = dataset.protocols()
    assert protocol.name == (
        "recordings of validation are the test; its synthetic clips select"
    )


def test_lists_without_a_test_are_refused(tmp_path):
    place = MINIATURES["desed"].make(tmp_path)
    for path in (place / "metadata").rglob("*.tsv"):
        if "train" not in path.parts:
            path.unlink()
    assert "there are lists of train; train and a test" in refusal(
        "desed", data_dir=place
    )


def test_another_layout_than_the_assumed_one_is_named(tmp_path):
    place = MINIATURES["desed/fl"].make(tmp_path)
    assert "no DESED here, only audio, metadata" in refusal("desed", data_dir=place)
    text(
        place / "metadata" / "train.tsv",
        "filename\tstart\tend\tclass",
        "0.wav\t0\t1\tDog",
    )
    message = refusal("desed/fl", data_dir=place)
    assert "train.tsv: has columns filename, start, end, class" in message
    assert "filename, onset, offset, event_label are expected" in message
    other = tmp_path / "other"
    (place / "audio").rename(other)
    message = refusal("desed/fl", data_dir=other)
    assert "only test, train; give a folder with audio/train/*.wav" in message
