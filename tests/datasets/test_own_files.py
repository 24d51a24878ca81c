"""The user's own recordings: folders of classes, and tables of labels."""

import collections

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.miniatures import clips as clips_of
from unmute_jax.datasets import load_dataset
from unmute_jax.errors import InputError

RATE = 8000


def write(path, seed, rate=RATE, seconds=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    sf.write(path, rng.uniform(-0.5, 0.5, round(seconds * rate)), rate)


LEFT_OUT = (
    "left out: 3 .txt (great tit/notes.txt, ...), 1 hidden or system folder (.cache)"
)


def refusal(name, **options):
    """Returns the message of a load that fails, which must be one line."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def birds(tmp_path):
    """Three classes of ten clips, with spaces in names and files that are no audio."""
    root = tmp_path / "my birds"
    for k, name in enumerate(("great tit", "robin", "wren")):
        for i in range(10):
            write(root / name / "day 1" / f"clip {i}.wav", 100 * k + i)
        (root / name / "notes.txt").write_text("windy")
    (root / ".cache").mkdir()
    return root


def test_a_folder_of_classes_is_a_single_label_set(birds):
    dataset = load_dataset(f"folder:{birds}")
    assert dataset.name == "folder:my birds"
    assert dataset.classes == ("great tit", "robin", "wren")
    assert dataset.task == "single-label"
    assert dataset.splits == {"train": 18, "validation": 6, "test": 6}
    (protocol,) = dataset.protocols()
    assert protocol.name == "validation and test made by rule, by file"
    clips = clips_of(dataset)
    for split, per_class in (("train", 6), ("validation", 2), ("test", 2)):
        counts = collections.Counter(clip.labels for clip in clips[split])
        assert counts == {(0,): per_class, (1,): per_class, (2,): per_class}
    one = clips["test"][0]
    audio, _ = sf.read(birds / one.id, dtype="float32")
    np.testing.assert_array_equal(one.waveform, audio)
    assert one.id.startswith(dataset.classes[one.labels[0]])


def test_a_fingerprint_depends_on_content_but_not_on_place(birds, tmp_path):
    before = load_dataset(f"folder:{birds}")
    (tmp_path / "elsewhere").mkdir()
    moved = birds.rename(tmp_path / "elsewhere" / birds.name)
    assert load_dataset(f"folder:{moved}").fingerprints == before.fingerprints
    write(moved / "wren" / "day 1" / "clip 3.wav", 999)
    assert load_dataset(f"folder:{moved}").fingerprints != before.fingerprints


def table(tmp_path, text, files=()):
    for i, file in enumerate(files):
        write(tmp_path / "audio" / file, i)
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return f"csv:{path}"


def test_a_table_with_splits_labels_and_events(tmp_path):
    # A byte order mark, CRLF, quotes and spaces, as spreadsheets leave them.
    text = (
        "\ufefffile, labels,split,group,onset,offset\r\n"
        "audio/a.wav,rain; wind,train,A,0.05,0.1\r\n"
        "audio/a.wav,rain,train,A,0.12,0.15\r\n"
        '"audio/b, 2.wav","wind",validation,B,0,0.2\r\n'
        "audio/c.wav,,test,C,,\r\n"
        "audio/d.wav,rain,test,C,0,0.1\r\n"
    )
    name = table(tmp_path, text, ["a.wav", "b, 2.wav", "c.wav", "d.wav"])
    dataset = load_dataset(name)
    assert dataset.name == "csv:labels"
    assert dataset.task == "multi-label"
    assert dataset.classes == ("rain", "wind")
    assert dataset.protocols()[0].name == "given splits"
    clips = clips_of(dataset)
    (first,) = clips["train"]
    assert first.labels == (0, 1)
    assert first.events == ((0, 0.05, 0.1), (1, 0.05, 0.1), (0, 0.12, 0.15))
    assert [clip.labels for clip in clips["test"]] == [(), (0,)]
    assert clips["validation"][0].id == "audio/b, 2.wav"


def test_a_split_made_by_rule_keeps_groups_together(tmp_path):
    lines, files = ["file,labels,group"], []
    for group in range(10):
        for take in range(3):
            files.append(f"{group}-{take}.wav")
            lines.append(f"audio/{files[-1]},{'ab'[group % 2]},site {group}")
    dataset = load_dataset(table(tmp_path, "\n".join(lines), files))
    assert dataset.protocols()[0].name == "validation and test made by rule, by group"
    groups = {
        split: {clip.id.split("/")[1].split("-")[0] for clip in clips}
        for split, clips in clips_of(dataset).items()
    }
    assert sum(len(g) for g in groups.values()) == 10
    assert set.union(*groups.values()) == {str(group) for group in range(10)}
    assert dataset.groups["audio/7-2.wav"] == "site 7"
    assert len(dataset.groups) == 30
    for split in ("validation", "test"):
        # Both classes are in every split: an odd and an even group.
        assert {int(group) % 2 for group in groups[split]} == {0, 1}


def test_only_the_missing_split_is_made(tmp_path):
    files = [f"{i}.wav" for i in range(14)]
    lines = [
        f"audio/{name},{'ab'[i % 2]},{'test' if i >= 10 else 'train'}"
        for i, name in enumerate(files)
    ]
    text = "\n".join(["file,labels,split", *lines])
    dataset = load_dataset(table(tmp_path, text, files))
    assert dataset.splits == {"train": 8, "validation": 2, "test": 4}
    assert dataset.protocols()[0].name == "validation made by rule, by file"
    test = {clip.id for clip in clips_of(dataset)["test"]}
    assert test == {f"audio/{i}.wav" for i in range(10, 14)}


def test_folders_of_splits_are_the_splits(tmp_path):
    for i, name in enumerate(("train/a", "train/b", "val/b", "test/b")):
        write(tmp_path / "d" / name / "1.wav", i)
    dataset = load_dataset(f"folder:{tmp_path / 'd'}")
    assert dataset.classes == ("a", "b")
    assert dataset.splits == {"train": 2, "validation": 1, "test": 1}
    assert dataset.protocols()[0].name == "given splits"
    assert dataset.ids("test") == ["test/b/1.wav"]
    assert dataset.notes == ("class a has no test clip",)


@pytest.fixture
def sites(tmp_path):
    """Two classes at four sites, whose names stand in the names of the files."""
    for i in range(16):
        write(tmp_path / "d" / "ab"[i % 2] / f"site{i // 4}_{i}.wav", i)
    return f"folder:{tmp_path / 'd'}"


def test_one_site_is_left_out_at_a_time(sites):
    dataset = load_dataset(sites, group_pattern="^([^_]+)_", folds="groups")
    assert dataset.splits == {f"fold{k}": 4 for k in range(1, 5)}
    assert dataset.groups["a/site3_12.wav"] == "site3"
    protocols = dataset.protocols(0)
    assert [p.name for p in protocols] == [
        f"test fold {k + 1} of 4 (site{k})" for k in range(4)
    ]
    clips = clips_of(dataset)
    for k, protocol in enumerate(protocols):
        (test,) = protocol.test
        assert {clip.id[2:7] for clip in clips[test]} == {f"site{k}"}
    assert dataset.protocols(3) == protocols[2:3]
    with pytest.raises(InputError, match="has folds 1 to 4"):
        dataset.protocols(5)


def test_a_number_of_folds_and_a_pattern_without_folds(sites, tmp_path):
    assert len(load_dataset(sites, folds=4).protocols(0)) == 4
    dataset = load_dataset(sites, group_pattern="^([^_]+)_")
    assert "by group" in dataset.protocols()[0].name
    (tmp_path / "d" / "a" / "odd.wav").touch()
    assert "finds no group in 1 of 17 files, the first is a/odd.wav" in refusal(
        sites, group_pattern="^([^_]+)_"
    )


@pytest.mark.parametrize("fold", [0, 1])
def test_a_fold_is_not_asked_for_in_vain(sites, fold):
    with pytest.raises(InputError, match=r"no folds .*dataset_options\.folds"):
        load_dataset(sites).protocols(fold)


def test_events_behind_the_end_of_a_clip_are_refused(tmp_path):
    """Milliseconds, for example; what is within rounding ends with the clip."""
    lines = [f"audio/{i}.wav,{'ab'[i % 2]},0,{0.25 + i / 10000:.4f}" for i in range(10)]
    files = [f"{i}.wav" for i in range(10)]
    text = "\n".join(["file,labels,onset,offset", *lines])
    clips = clips_of(load_dataset(table(tmp_path, text, files)))
    ends = {clip.events[0][2] for split in clips.values() for clip in split}
    assert ends == {0.2}
    for times in ("500,900", "0,0.31", "0.2,0.25"):
        wrong = text.replace("0,0.2503", times)
        assert wrong != text
        onset, offset = times.split(",")
        refused = refusal(table(tmp_path, wrong))
        assert "labels.csv: the event 'b' from" in refused
        assert f"{onset} to {offset} s of audio/3.wav lies behind its end" in refused
        assert "at 0.2 s" in refused


def test_names_in_another_unicode_form_are_found_and_counted_once(tmp_path):
    forms = ("Möwe", "Mo\u0308we ")
    lines = [f"audio/{forms[1].strip()}{i}.wav,{forms[i % 2]}" for i in range(5)]
    lines += [f"audio/{i}.wav,{('dog', 'Dog')[i % 2]}" for i in range(10)]
    files = [f"Möwe{i}.wav" for i in range(5)] + [f"{i}.wav" for i in range(10)]
    dataset = load_dataset(table(tmp_path, "\n".join(["file,labels", *lines]), files))
    assert dataset.classes == ("Dog", "Möwe", "dog")
    assert sum(dataset.splits.values()) == 15
    assert dataset.notes == (
        "'Dog' and 'dog' are different classes; rename them if they are meant as one",
    )


def test_repeated_audio_in_two_splits_is_noted(birds):
    dataset = load_dataset(f"folder:{birds}")
    assert dataset.notes == (LEFT_OUT,)
    train, test = (dataset.source_of(split)[0].id for split in ("train", "test"))
    (birds / test).write_bytes((birds / train).read_bytes())
    _, note = load_dataset(f"folder:{birds}").notes
    assert note == "1 clips have the same audio as a clip of another split"


def test_stereo_files_whose_channels_cancel_are_noted(birds, tmp_path):
    x, rate = sf.read(birds / "robin" / "day 1" / "clip 4.wav")
    sf.write(birds / "robin" / "day 1" / "clip 4.wav", np.stack([x, -0.9 * x], 1), rate)
    note = load_dataset(f"folder:{birds}").notes[-1]
    assert note.startswith("files whose channels cancel each other out")
    assert note.endswith(": 1")


def test_every_clip_keeps_its_sample_rate(tmp_path):
    for i in range(10):
        write(tmp_path / "own" / "ab"[i % 2] / f"{i}.wav", i, 16000 if i < 3 else RATE)
    dataset = load_dataset(f"folder:{tmp_path / 'own'}")
    assert dataset.sample_rates == {RATE: 7, 16000: 3}
    clips = [clip for split in dataset.splits for clip in dataset.source_of(split)]
    assert {clip.id: clip.sample_rate for clip in clips} == {
        f"{'ab'[i % 2]}/{i}.wav": 16000 if i < 3 else RATE for i in range(10)
    }
    assert dataset.clip_seconds == pytest.approx(0.2)


def test_a_bad_file_is_named_or_skipped(birds):
    (birds / "robin" / "day 1" / "clip 4.wav").write_bytes(b"no audio")
    assert "clip 4.wav: is not audio" in refusal(f"folder:{birds}")
    dataset = load_dataset(f"folder:{birds}", on_bad="skip")
    assert sum(dataset.splits.values()) == 29
    left_out, skipped = dataset.notes
    assert left_out == LEFT_OUT
    path = birds / "robin" / "day 1" / "clip 4.wav"
    assert skipped.startswith(f"1 unreadable clip skipped: {path}: is not audio")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,labels,onset\na.wav,x,1\n", "onset and offset go together"),
        ("file,labels\na.wav\n", "line 2: has more or fewer fields"),
        ("file,labels,split\na.wav,x,trian\n", "did you mean 'train'?"),
        ("file,labels,split\na.wav,x,train\nb.wav,y,\n", "some clips have a split"),
        ("file,labels,onset,offset\na.wav,x,2,1\n", "cannot last from 2.0 to 1.0 s"),
        ("file,labels\na.wav,x\na.wav,y\n", "names a.wav 2 times"),
        (
            "file,labels,split,group\na.wav,x,train,A\nb.wav,y,test,A\n",
            "group 'A' is in train and in test",
        ),
        ("file,labels\na.wav,x\nb.wav,x\n", "needs two classes or more; there is x"),
        ("file,labels\na.wav,x\nb.wav,y\n", "2 clips leave none for"),
        (
            "file,labels\n" + "".join(f"{i}.wav,{'xy'[i % 2]}\n" for i in range(9)),
            "9 of its 9 files are missing, the first is",
        ),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, text, message):
    refused = refusal(table(tmp_path, text))
    assert message in refused
    assert "labels" in refused


def test_places_that_hold_nothing_are_named(tmp_path):
    assert "no audio in its sub-folders" in refusal(f"folder:{tmp_path}")
    assert "there is no such file" in refusal(f"csv:{tmp_path / 'none.csv'}")
    assert "none: there is no such folder" in refusal(f"folder:{tmp_path / 'none'}")
    (tmp_path / "labels.csv").touch()
    table = refusal(f"folder:{tmp_path / 'labels.csv'}")
    assert "labels.csv: is a file" in table
    assert "tables are read by csv: and annotations:" in table
    assert "names its place" in refusal(f"folder:{tmp_path}", data_dir=tmp_path)
