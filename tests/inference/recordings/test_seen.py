import pathlib

from tests.inference.recordings.fakes import fake_trained
from unmute_jax.inference.recordings.seen import describe_training, notes_on_seen
from unmute_jax.inference.recordings.windows import RecordingFile


def seen(dataset, *paths, data_dir=""):
    """The note on recordings for a probe that was trained on a data set."""
    trained = fake_trained(
        settings={"dataset": str(dataset), "data_dir": str(data_dir)},
        protocol="test fold 2 of 3 (yard)",
    )
    recordings = [RecordingFile(path=pathlib.Path(p), name="x") for p in paths]
    return notes_on_seen(trained, recordings)


def test_the_training_is_told():
    assert describe_training(fake_trained(seed=3)).endswith(
        ", official split, seed 3, validation 50.00"
    )


def test_recordings_below_the_folder_of_the_data_set_are_told(tmp_path):
    survey, other = tmp_path / "survey", tmp_path / "survey2"
    survey.mkdir()
    (tmp_path / "link").symlink_to(survey)
    paths = (survey / "deep" / "a.wav", other / "a.wav", tmp_path / "link" / "b.wav")
    for kind in ("folder", "annotations"):
        assert seen(f"{kind}:{survey}", *paths) == [
            "2 of 3 recordings are of the data set that the probe was trained on, "
            f"{survey}: their scores are no test, except for test recordings of "
            "'test fold 2 of 3 (yard)'"
        ]
    assert seen(f"folder:{survey}", other / "a.wav") == []
    assert seen("esc50", survey / "a.wav") == []
    assert seen("hf:owner/name", survey / "a.wav") == []
    assert len(seen("esc50", survey / "a.wav", data_dir=survey)) == 1
    assert len(seen(f"annotations:{other}", other / "a.wav")) == 0


def test_of_a_table_only_recordings_that_it_names_are_told(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,labels\ndeep/a1.wav,dog\n")
    (note,) = seen(f"csv:{table}", tmp_path / "deep/a1.wav", tmp_path / "a.wav")
    assert note.startswith("1 of 2 recordings are of the data set")
    assert seen(f"csv:{table}", tmp_path / "a.wav") == []
    assert seen(f"annotations:{table}", tmp_path.parent / "a1.wav") == []
    audio = tmp_path / "audio"
    assert seen(f"annotations:{table}", audio / "a1.wav", data_dir=audio)
