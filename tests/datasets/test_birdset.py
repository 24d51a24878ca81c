import pyarrow as pa
import pyarrow.parquet as pq

from configs import birdset_64shot
from tests.datasets.miniatures import MINIATURES, clips, refusal
from unmute_jax.config import Experiment
from unmute_jax.datasets import load_dataset
from unmute_jax.training.setup import open_dataset


def starts(dataset):
    """Returns the recording and the start of every training and validation clip."""
    found = clips(dataset)
    ids = [clip.id for split in ("train", "validation") for clip in found[split]]
    return {tuple(name.rsplit("-", 1)) for name in ids}


def test_every_recording_gives_one_clip(loaded):
    dataset = loaded("hsn")
    assert len(dataset.classes) == 21
    found = {name: float(start) for name, start in starts(dataset)}
    assert found.keys() == {f"XC{i}" for i in range(1, 10)}
    assert found["XC1"] in (0.0, 6.0)
    assert [found[name] for name in ("XC3", "XC4", "XC5", "XC8")] == [0, 0, 4, 8]
    labels = {c.id.split("-")[0]: c.labels for f in clips(dataset).values() for c in f}
    assert labels["XC2"] == (0, 1)
    assert labels["XC9"] == (2,)
    assert labels["HSN_001_000_005"] == (0, 1)
    assert labels["HSN_001_005_010"] == ()
    assert dataset.clip_seconds == 5.0
    notes = " ".join(dataset.notes)
    assert "1 listed recordings of train are not there" in notes
    assert "train: 9 of the official 5,460 clips" in notes


def test_few_shots_follow_the_rules(loaded, place_of):
    place = place_of("hsn")
    few = loaded("hsn/64shot")
    assert starts(few) == {
        ("XC1", "0.000"),
        ("XC1", "6.000"),
        ("XC3", "0.000"),
        ("XC5", "4.000"),
        ("XC6", "0.000"),
    }
    assert "21 classes have fewer than 64 clips" in few.notes
    assert "dropped: 1 labels are no class of the subset" in few.notes
    (protocol,) = few.protocols()
    assert protocol.name == (
        "64-shot, a fifth of it validates; test_5s is the test (lenient, seed 1)"
    )
    # One clip of each of three classes cannot be split.
    message = refusal("hsn/64shot", data_dir=place, strict=True)
    assert "3 training clips leave none for validation" in message
    strict = load_dataset("hsn", data_dir=place, strict=True, fill_up=True, shots=3)
    assert {name for name, _ in starts(strict)} > {"XC2", "XC6", "XC9"}
    filled = load_dataset("hsn/64shot", data_dir=place, fill_up=True)
    assert starts(filled) > starts(few)
    assert len(starts(filled)) == 10


def test_one_shot_validates_on_other_recordings(place_of):
    place = place_of("hsn")
    one = load_dataset("hsn", data_dir=place, shots=1, seed=5)
    assert one.name == "hsn/1shot"
    found = clips(one)
    sources = {
        split: {clip.id.split("-")[0] for clip in found[split]} for split in found
    }
    assert [clip.labels for clip in found["train"]] == [(0,), (1,)]
    assert [clip.labels for clip in found["validation"]] == [(0,), (1,)]
    assert not sources["train"] & sources["validation"]
    assert one.protocols()[0].name == (
        "1-shot, one more per class validates; test_5s is the test (lenient, seed 5)"
    )


def test_mistakes_in_tables_and_options_are_named(tmp_path):
    place = MINIATURES["hsn"].make(tmp_path)
    assert "shots is -1, not 0 or more" in refusal("hsn", data_dir=place, shots=-1)
    message = refusal("pow", data_dir=place)
    assert "no BirdSet POW" in message
    table = place / "HSN_metadata_train.parquet"
    rows = pq.read_table(table).to_pylist()
    rows[3]["event_cluster"] = [1]
    pq.write_table(pa.Table.from_pylist(rows), table)
    assert "XC4.ogg has 2 events and 1 clusters" in refusal("hsn", data_dir=place)
    for path in place.glob("HSN*"):
        path.rename(path.with_name(path.name.replace("HSN", "NBP")))
    assert "'gcrfin' is no class of NBP" in refusal("nbp", data_dir=place)


def test_mixed_copies_are_training_splits(loaded, place_of):
    plain = loaded("hsn/64shot")
    dataset = load_dataset("hsn/64shot", data_dir=place_of("hsn"), mixup=2)
    (protocol,) = dataset.protocols()
    assert protocol.train == ("train", "mixup1", "mixup2")
    assert dataset.fingerprint("train") == plain.fingerprint("train")
    assert dataset.fingerprint("validation") == plain.fingerprint("validation")
    assert dataset.fingerprint("mixup1") != dataset.fingerprint("mixup2")
    found = clips(dataset)
    for original, copy in zip(found["train"], found["mixup2"], strict=True):
        assert copy.id == f"{original.id}-mixup2"
        assert set(original.labels) <= set(copy.labels)
        assert copy.waveform.shape == (160_000,)
    assert not any("same audio" in note for note in dataset.notes)


def test_a_config_sets_the_options(place_of):
    config = birdset_64shot.get_config()
    config.data_dir = str(place_of("hsn"))
    config.dataset_options.seed = 3
    config.dataset_options.fill_up = True
    config.dataset_options.mixup = 1
    settings = Experiment.from_dict(config.to_dict())
    dataset = open_dataset(settings)
    assert list(dataset.splits) == ["train", "validation", "test", "mixup1"]
    assert "lenient, filled up, seed 3" in dataset.protocols()[0].name
    assert settings.default_workdir().startswith("runs/hsn_64shot-")
