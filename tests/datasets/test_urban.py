from tests.datasets.layouts import text
from tests.datasets.miniatures import MINIATURES, by_id, refusal


def test_events_and_labels_come_from_the_annotations(loaded):
    dataset = loaded("urban")
    found = by_id(dataset)
    siren, dog = dataset.classes.index("siren"), dataset.classes.index("dog_bark")
    clip = found["soundscape_test_uniform0"]
    assert clip.labels == (dog, siren)
    assert clip.events == ((siren, 0.0, 0.1), (siren, 0.05, 0.2), (dog, 0.1, 0.3))
    assert found["soundscape_validate_bimodal1"].events == ((0, 0.0, 0.25),)
    assert found["soundscape_test_unimodal2"].labels == ()
    rows = [clip.id for clip in dataset.source_of("test")]
    assert dataset.events("test", rows.index(clip.id)) == clip.events
    assert "dropped: 1 soundscapes have no annotation" in dataset.notes


def test_mistakes_in_an_annotation_are_named(tmp_path):
    place = MINIATURES["urban"].make(tmp_path)
    path = place / "annotations" / "train" / "soundscape_train_uniform0.txt"
    text(path, "0.1 0.2 siren", "0.1 siren")
    message = refusal("urban", data_dir=place)
    assert message.startswith(f"{path}, line 2: is '0.1 siren'")
    text(path, "0.1 0.2 sirens")
    assert "did you mean 'siren'?" in refusal("urban", data_dir=place)
