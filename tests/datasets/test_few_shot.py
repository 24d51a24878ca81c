"""Few clips per class, windows at events, and mixed copies."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import birdset_64shot
from tests.datasets.miniatures import MINIATURES, clips, load, refusal
from unmute_jax.config import Experiment
from unmute_jax.datasets import load_dataset, mixup
from unmute_jax.datasets.few_shot import (
    Focal,
    choose,
    primary,
    usable_events,
    window_start,
)
from unmute_jax.datasets.file_builder import FileEntry
from unmute_jax.training.setup import open_dataset


def focal(name, label=0, seconds=10.0, events=((0.0, 1.0),), has_others=False):
    return Focal(
        name=name, label=label, seconds=seconds, events=events, has_others=has_others
    )


# Which events of a recording count.


@pytest.mark.parametrize(
    ("events", "clusters", "expected"),
    [
        ([], [], ((0.0, 5.0),)),
        ([[1, 2], [20, 21]], [-1, -1], ((1.0, 2.0), (20.0, 21.0))),
        ([[1, 2], [20, 21], [30, 31]], [-1, -1, 4], ((30.0, 31.0),)),
        ([[1, 2], [20, 21], [40, 41]], [7, 3, 3], ((20.0, 21.0), (40.0, 41.0))),
        ([[1, 2], [20, 21]], [7, 3], ((20.0, 21.0),)),
        ([[10, 30], [12, 13], [50, 51]], [0, 0, 0], ((10.0, 30.0), (50.0, 51.0))),
        # The same beginning is not within.
        ([[10, 12], [10, 13]], [0, 0], ((10.0, 12.0), (10.0, 13.0))),
        # Both would be the first five seconds.
        ([[0, 0.5], [1, 1.5]], [0, 0], ((0.0, 0.5),)),
    ],
)
def test_the_events_of_a_recording(events, clusters, expected):
    spans = [[float(start), float(end)] for start, end in events]
    assert usable_events(spans, clusters, 60.0) == expected


@pytest.mark.parametrize(
    ("event", "seconds", "start"),
    [
        ((10.0, 11.0), 60.0, 8.0),
        ((1.0, 2.0), 60.0, 0.0),
        ((58.0, 59.0), 60.0, 55.0),
        ((20.0, 40.0), 60.0, 20.0),
        ((1.0, 2.0), 3.0, 0.0),
        ((0.0, 5.0), float("inf"), 0.0),
    ],
)
def test_five_seconds_around_an_event(event, seconds, start):
    assert window_start(event, seconds) == start


def test_which_recordings_qualify():
    assert focal("a", seconds=20.0).qualifies(strict=False)
    assert not focal("a", seconds=20.5).qualifies(strict=False)
    assert not focal("a", seconds=4.0, has_others=True).qualifies(strict=False)
    assert focal("a", seconds=5.0, has_others=True).qualifies(strict=True)
    assert not focal("a", seconds=5.5).qualifies(strict=True)


# Which recordings of a class.


def spans(count):
    return tuple((10.0 * i, 10.0 * i + 1) for i in range(count))


def many(label=0, count=12, events=3):
    return [focal(f"{label}-{i}", label, 15.0, spans(events)) for i in range(count)]


def test_enough_recordings_give_one_clip_each():
    chosen = choose(many(), 8, seed=1)
    assert len({recording.name for recording, _ in chosen}) == len(chosen) == 8
    assert all(event == primary(recording, 1) for recording, event in chosen)


def test_few_recordings_give_their_other_events_too():
    chosen = choose(many(count=4), 7, seed=1)
    assert len(chosen) == len(set(chosen)) == 7
    assert len({recording.name for recording, _ in chosen}) == 4
    assert len(choose(many(count=4), 64, seed=1)) == 12


def test_a_draw_is_a_function_of_seed_and_class():
    one = choose(many(), 5, seed=1)
    assert choose(many()[::-1], 5, seed=1) == one
    assert choose([*many(1), *many()], 5, seed=1)[:5] == one
    assert choose(many(), 5, seed=2) != one


def test_filling_up_takes_recordings_that_do_not_qualify():
    recordings = [*many(count=2, events=1), focal("long", seconds=90.0), focal("ok")]
    names = [r.name for r, _ in choose(recordings, 4, seed=1)]
    assert sorted(names) == ["0-0", "0-1", "ok"]
    filled = [r.name for r, _ in choose(recordings, 4, seed=1, fill_up=True)]
    assert filled == [*names, "long"]
    assert len(choose(recordings, 3, seed=1, fill_up=True)) == 3


# On a miniature of BirdSet.


def starts(dataset):
    """Name and beginning of every training and validation clip."""
    found = clips(dataset)
    ids = [clip.id for split in ("train", "validation") for clip in found[split]]
    return {tuple(name.rsplit("-", 1)) for name in ids}


def test_every_recording_once(tmp_path):
    dataset = load("hsn", tmp_path)
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


def test_few_shots_of_the_miniature(tmp_path):
    place = MINIATURES["hsn"].make(tmp_path)
    few = load_dataset("hsn/64shot", data_dir=place)
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


def test_one_shot_validates_on_other_recordings(tmp_path):
    place = MINIATURES["hsn"].make(tmp_path)
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


def test_what_a_subset_refuses(tmp_path):
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


# Mixed copies.


def entries(count):
    return [
        FileEntry(id=f"clip{i}", file=f"{i}.ogg", labels=(i % 3,)) for i in range(count)
    ]


def test_nine_of_ten_copies_are_mixed():
    originals = entries(400)
    copies = mixup.mixed_copies(originals, variant=1, seed=0)
    mixed = [copy for copy in copies if copy.added]
    assert len(mixed) / 400 == pytest.approx(0.9, abs=0.05)
    assert {len(copy.added) for copy in mixed} == {1, 2, 3}
    snrs = [copy.snr_db for copy in copies]
    assert 2 <= min(snrs) < 4
    assert 28 < max(snrs) <= 30
    for copy, original in zip(copies, originals, strict=True):
        assert copy.clip == original
        assert original not in copy.added
        union = {*original.labels, *(c for other in copy.added for c in other.labels)}
        assert copy.labels == tuple(sorted(union))
    assert mixup.mixed_copies(originals, variant=1, seed=0) == copies
    assert mixup.mixed_copies(originals, variant=2, seed=0)[0] != copies[0]
    assert not mixup.mixed_copies(originals[:1], variant=1, seed=0)[0].added


def test_what_is_added_has_the_drawn_level():
    rng = np.random.default_rng(0)
    x, other = (0.05 * rng.standard_normal((2, 16_000))).astype(np.float32)
    mixture = mixup.mix(x, [7 * other], [0.25], 10.0)
    added = mixture - x
    ratio = 10 * np.log10(np.mean(x**2) / np.mean(added**2))
    assert ratio == pytest.approx(10.0, abs=0.01)
    np.testing.assert_allclose(
        added / np.std(added), np.roll(other, 4000) / np.std(other), atol=1e-3
    )
    # A short clip is filled up; a silent one adds nothing; nothing is clipped.
    assert mixup.mix(x, [other[:100]], [0.0], 2.0).shape == x.shape
    np.testing.assert_array_equal(mixup.mix(x, [0 * other], [0.5], 2.0), x)
    assert np.abs(mixup.mix(30 * x, [other], [0.0], 2.0)).max() <= 0.9901
    np.testing.assert_array_equal(mixup.mix(30 * x, [], [], 2.0), 30 * x)


def test_mixed_copies_are_splits_that_train(tmp_path):
    place = MINIATURES["hsn"].make(tmp_path)
    plain = load_dataset("hsn/64shot", data_dir=place)
    dataset = load_dataset("hsn/64shot", data_dir=place, mixup=2)
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


def test_a_config_chooses_shots_and_mixup(tmp_path):
    place = MINIATURES["hsn"].make(tmp_path)
    config = birdset_64shot.get_config()
    config.data_dir = str(place)
    config.dataset_options.seed = 3
    config.dataset_options.fill_up = True
    settings = Experiment.from_dict(config.to_dict())
    dataset = open_dataset(settings)
    mixed = [f"mixup{i}" for i in range(1, 6)]
    assert list(dataset.splits) == ["train", "validation", "test", *mixed]
    assert "lenient, filled up, seed 3" in dataset.protocols()[0].name
    assert settings.default_workdir().startswith("runs/hsn_64shot-")
