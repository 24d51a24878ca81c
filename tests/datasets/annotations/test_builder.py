"""Data sets of annotated recordings."""

import collections

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.datasets import load_dataset
from unmute_jax.datasets.annotations import audacity, event_table, raven, stream
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError

RATE = 1000
HEADER = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tSpecies\n"


def record(path, seed, seconds=12.0, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))
    sf.write(path, x.astype(np.float32), rate, "FLOAT")


def refusal(name, **options):
    """Returns the message of a load that fails, which must be one line."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sites(tmp_path):
    """Four sites of two recordings each: a robin, a wren, and a silent recording."""
    root = tmp_path / "survey"
    for k, site in enumerate(("east", "north", "south", "west")):
        for i in range(2):
            record(root / site / f"{i}.wav", 10 * k + i, rate=RATE * (1 + k % 2))
        (root / site / "0.Table.1.selections.txt").write_text(
            f"{HEADER}1\tSpectrogram 1\t1.5\t2.5\trobin\n"
            "1\tWaveform 1\t1.5\t2.5\trobin\n2\tSpectrogram 1\t6\t6.1\twren\n"
        )
        (root / site / "1.selections.txt").write_text(HEADER)
    return root


def clips_of(dataset):
    return [c for split in dataset.splits for c in dataset.source_of(split)]


def test_windows_have_the_labels_and_the_sound_of_their_stretch(sites):
    dataset = load_dataset(f"annotations:{sites}", window=2.0, hop=1.0)
    assert dataset.name == "annotations:survey"
    assert dataset.task == "multi-label"
    assert dataset.classes == ("robin", "wren")
    assert dataset.clip_seconds == 2.0
    assert dataset.sample_rates == {1000: 44, 2000: 44}
    assert dataset.has_events
    assert "windows: 88, with a label: 20" in dataset.notes
    clips = {clip.id: clip for clip in clips_of(dataset)}
    assert len(clips) == 88
    found = {
        clip.id: (clip.labels, clip.events)
        for clip in clips.values()
        if clip.id.startswith("north/0") and clip.labels
    }
    assert found == {
        "north/0.wav-0.000": ((0,), ((0, 1.5, 2.0),)),
        "north/0.wav-1.000": ((0,), ((0, 0.5, 1.5),)),
        "north/0.wav-2.000": ((0,), ((0, 0.0, 0.5),)),
        "north/0.wav-5.000": ((1,), ((1, 1.0, pytest.approx(1.1)),)),
        "north/0.wav-6.000": ((1,), ((1, 0.0, pytest.approx(0.1)),)),
    }
    x, rate = sf.read(sites / "north" / "0.wav", dtype="float32")
    one = clips["north/0.wav-5.000"]
    assert one.sample_rate == rate == 2000
    np.testing.assert_array_equal(one.waveform, x[5 * rate : 7 * rate])


def test_no_site_is_in_two_splits(sites):
    dataset = load_dataset(f"annotations:{sites}")
    (protocol,) = dataset.protocols()
    assert protocol.name == "validation and test made by rule, by group"
    split_of = collections.defaultdict(set)
    for split in dataset.splits:
        for clip in dataset.source_of(split):
            assert dataset.groups[clip.id] == clip.id.split("/")[0]
            split_of[dataset.groups[clip.id]].add(split)
    assert sorted(map(len, split_of.values())) == [1, 1, 1, 1]


def test_one_site_after_the_other_can_be_left_out(sites):
    dataset = load_dataset(f"annotations:{sites}", folds="groups")
    assert [p.name for p in dataset.protocols(0)] == [
        f"test fold {k} of 4 ({site})"
        for k, site in enumerate(("east", "north", "south", "west"), start=1)
    ]


def test_every_recording_is_decoded_once(sites, monkeypatch):
    opened = []

    class Counting(stream.AudioFile):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(stream, "AudioFile", Counting)
    load_dataset(f"annotations:{sites}", window=0.5, hop=0.1)
    assert len(opened) == len(set(opened)) == 8


def test_the_fingerprint_depends_on_content_and_options(sites, tmp_path):
    before = load_dataset(f"annotations:{sites}")
    (tmp_path / "elsewhere").mkdir()
    moved = sites.rename(tmp_path / "elsewhere" / "survey")
    assert load_dataset(f"annotations:{moved}").fingerprints == before.fingerprints
    more = moved / "east" / "1.selections.txt"
    more.write_text(f"{HEADER}1\tSpectrogram 1\t1\t2\twren\n")
    assert load_dataset(f"annotations:{moved}").fingerprints != before.fingerprints


@pytest.mark.parametrize(("background", "kept"), [(None, 24), (0.0, 8), (1.0, 16)])
def test_background_is_kept_or_left_out(sites, background, kept):
    dataset = load_dataset(f"annotations:{sites}", background=background)
    clips = clips_of(dataset)
    assert len(clips) == kept
    assert sum(bool(clip.labels) for clip in clips) == 8


def test_recordings_without_annotations_are_refused_unless_an_option_says_more(sites):
    (sites / "west" / "1.selections.txt").unlink()
    message = refusal(f"annotations:{sites}")
    assert "1 of 8 recordings have no annotations, the first is west/1.wav" in message
    assert "unannotated=skip" in message
    skipped = load_dataset(f"annotations:{sites}", unannotated="skip")
    assert len(clips_of(skipped)) == 21
    assert "without annotations, left out: 1 of 8 recordings" in skipped.notes
    taken = load_dataset(f"annotations:{sites}", unannotated="background")
    assert len(clips_of(taken)) == 24
    assert "without annotations, taken as background: 1 of 8 recordings" in taken.notes


def test_a_folder_without_any_annotation_is_refused(tmp_path):
    record(tmp_path / "a.wav", 0)
    (tmp_path / "events.csv").write_text("file,onset,offset,label\na.wav,1,2,wren\n")
    message = refusal(f"annotations:{tmp_path}")
    assert "such as a.txt; a table of events is named itself" in message


def test_milliseconds_are_refused_by_file_event_and_length(sites):
    table = sites / "west" / "1.selections.txt"
    table.write_text(f"{HEADER}7\tSpectrogram 1\t1500\t2500\trobin\n")
    assert refusal(f"annotations:{sites}") == (
        f"{table}, line 2: 'robin' from 1500 to 2500 s is beyond the end of "
        "west/1.wav, which lasts 12 s; onsets and offsets are in seconds"
    )


def test_a_table_names_recordings_sites_and_splits(tmp_path):
    for i in range(4):
        record(tmp_path / "in" / f"{i}.wav", i)
    table = tmp_path / "events.csv"
    table.write_text(
        "file,onset,offset,label,site,split\n"
        "in/0.wav,1,2,robin,a,train\nin/0.wav,1.5,3,wren,a,train\n"
        f"{tmp_path}/in/1.wav,7,7.5,wren,b,val\n"
        "in/2.wav,,,,c,test\n"
    )
    dataset = load_dataset(f"annotations:{table}", window=4.0)
    assert dataset.name == "annotations:events"
    assert dataset.splits == {"train": 3, "validation": 3, "test": 3}
    assert dataset.protocols()[0].name == "given splits"
    assert [clip.labels for clip in clips_of(dataset)] == [
        (0, 1), (), (), (), (1,), (), (), (), (),
    ]  # fmt: skip
    assert set(dataset.groups.values()) == {"a", "b", "c"}
    table.write_text(table.read_text().replace("in/2.wav", "in/9.wav"))
    message = refusal(f"annotations:{table}")
    assert f"{table}, line 5: there is no recording in/9.wav" in message


def test_accents_of_names_may_be_written_in_two_ways(tmp_path):
    for i in range(4):
        record(tmp_path / f"mo\u0308we{i}.wav", i)
    table = tmp_path / "events.csv"
    lines = [f"m\u00f6we{i}.wav,1,2,M\u00f6we\n" for i in range(4)]
    table.write_text("file,onset,offset,label\n" + "".join(lines))
    dataset = load_dataset(f"annotations:{table}", folds="groups")
    assert dataset.classes == ("M\u00f6we",)
    assert len(clips_of(dataset)) == 12


def test_the_recordings_of_a_table_may_be_elsewhere(tmp_path):
    for name in ("a/0.wav", "b/0.wav", "c/0.wav", "d/0.wav", "e/0.wav"):
        record(tmp_path / "audio" / name, 0)
    (tmp_path / "labels").mkdir()
    table = tmp_path / "labels" / "events.csv"
    table.write_text(
        "file,onset,offset,label\n"
        + "".join(f"{site}/0.wav,1,2,x\n" for site in "abcd")
    )
    dataset = load_dataset(f"annotations:{table}", data_dir=tmp_path / "audio")
    assert set(dataset.groups.values()) == {"a", "b", "c", "d"}


def test_points_are_labels_without_times(sites):
    (sites / "west" / "1.selections.txt").unlink()
    (sites / "west" / "1.txt").write_text("3.000000\t3.000000\twren\n")
    dataset = load_dataset(f"annotations:{sites}")
    assert {c.id: c.labels for c in clips_of(dataset)}["west/1.wav-0.000"] == (1,)
    assert not dataset.has_events
    assert any("config.labels=frames cannot use: 1" in note for note in dataset.notes)


def test_unreadable_recordings_and_lost_annotations_can_be_skipped(sites):
    (sites / "west" / "0.wav").write_bytes(b"RIFF, but nothing else")
    (sites / "west" / "9.selections.txt").write_text(
        f"{HEADER}1\tSpectrogram 1\t1\t2\trobin\n"
    )
    assert "9.selections.txt: there is no recording with this name" in refusal(
        f"annotations:{sites}"
    )
    dataset = load_dataset(f"annotations:{sites}", on_bad="skip")
    assert "annotations of recordings that are not there: 1" in dataset.notes
    assert any("left out: " in note and "0.wav" in note for note in dataset.notes)
    (sites / "west" / "9.selections.txt").unlink()
    assert "west/0.wav" in refusal(f"annotations:{sites}")


def test_a_fault_inside_a_recording_spoils_the_windows_behind_it(sites):
    path = sites / "west" / "0.wav"
    data = bytearray(path.read_bytes())
    # The second block of the decoder is never reached, so the fault is in the first.
    data[-40:-36] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    assert "NaN" in refusal(f"annotations:{sites}")
    dataset = load_dataset(f"annotations:{sites}", on_bad="skip")
    (note,) = [note for note in dataset.notes if "unreadable" in note]
    assert note.startswith("3 unreadable clips skipped: ")
    assert note.count("NaN") == 1  # The windows of a recording share their fault.


def test_options_are_checked(sites):
    name = f"annotations:{sites}"
    assert "unknown dataset_options.unlisted 'drop'" in refusal(name, unlisted="drop")
    assert "background=-1" in refusal(name, background=-1.0)
    assert "window=0, hop=0" in refusal(name, window=0)
    assert "no such folder" in refusal(f"annotations:{sites}2")
    assert "not of type float" in refusal(name, hop="1")
    assert "label column" in refusal(name, label_column="Bird")


def test_what_predict_writes_can_be_read(tmp_path):
    events = [
        SoundEvent(
            onset=1.0, offset=2.5, label="robin", score=0.9, low_hz=1.0, high_hz=9.0
        ),
        SoundEvent(
            onset=4.0, offset=9.0, label="a wren", score=0.5, low_hz=1.0, high_hz=9.0
        ),
    ]
    names = ["a/0.wav", "b/0.wav", "c/0.wav", "d/0.wav"]
    for k, name in enumerate(names):
        record(tmp_path / "in" / name, k)
        for kind, write in (("raven", raven.write), ("audacity", audacity.write)):
            path = tmp_path / "out" / kind / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(events))
    (tmp_path / "out" / "predictions.csv").write_text(
        event_table.write([(name, event) for name in names for event in events])
    )
    read = [
        load_dataset(f"annotations:{tmp_path}/out/{what}", data_dir=tmp_path / "in")
        for what in ("raven", "audacity", "predictions.csv")
    ]
    expected = [((1,), ((1, 1.0, 2.5), (0, 4.0, 5.0))), ((0,), ((0, 0.0, 4.0),))]
    for dataset in read:
        assert dataset.classes == ("a wren", "robin")
        clips = {clip.id: (clip.labels, clip.events) for clip in clips_of(dataset)}
        assert clips["a/0.wav-0.000"] == ((0, 1), expected[0][1])
        assert clips["b/0.wav-5.000"] == expected[1]


def test_a_recording_whose_channels_cancel_is_counted_once(sites):
    path = sites / "east" / "0.wav"
    x, rate = sf.read(path, dtype="float32")
    sf.write(path, np.stack([x, -0.9 * x], axis=1), rate, "FLOAT")
    notes = load_dataset(f"annotations:{sites}").notes
    (note,) = (note for note in notes if "channels cancel" in note)
    assert note.endswith(": 1")
