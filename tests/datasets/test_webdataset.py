"""WebDataset archives, with the names and the labels that X-ARES gives them."""

import json

import pytest

from tests.datasets.layouts import encoded, seed_of
from tests.datasets.miniatures import by_id, class_names, clips, refusal
from tests.datasets.test_tars import pack
from unmute_jax.datasets import load_dataset


def samples(labels, suffix="json", sound="flac"):
    """Returns the members of samples, each a clip of its own and its labels."""
    members = []
    for key, label in labels.items():
        audio = encoded(seed_of(key), 8000, 0.05, sound.upper())
        content = json.dumps(label) if suffix == "json" else str(label)
        members += [(f"{key}.{sound}", audio), (f"{key}.{suffix}", content.encode())]
    return members


def some(split, n=6, **more):
    return {
        f"{split}{i}": {"label": "dog" if i % 2 else "cat", **more} for i in range(n)
    }


def test_splits_are_in_the_names_of_the_archives(tmp_path):
    labels = {"train": "Bark;Dog", "validation": "Dog", "eval": "Hi-hat"}
    for split, label in labels.items():
        for part in range(2):
            of_part = {f"{split}_{part}_{i}": {"soundevent": label} for i in range(2)}
            pack(tmp_path / f"fsd50k_{split}_000000{part}.tar", samples(of_part))
    dataset = load_dataset(f"wds:{tmp_path}/fsd50k_*.tar")
    assert dataset.task == "multi-label"
    assert dataset.classes == ("Bark", "Dog", "Hi-hat")
    assert dataset.splits == {"train": 4, "validation": 4, "test": 4}
    assert dataset.source == f"{tmp_path.name}/fsd50k, 6 archives, labels in soundevent"
    clip = by_id(dataset)["fsd50k_train_0000000.tar/train_0_1.flac"]
    assert class_names(dataset, clip) == {"Bark", "Dog"}
    assert [note for note in dataset.notes if note.startswith("FSD50K: many clips")]


def test_archives_of_folds_are_folds(tmp_path):
    for fold in (1, 2, 3, 10):
        labels = {f"{fold}-{i}-A": {"label": i % 2} for i in range(4)}
        pack(
            tmp_path / f"wds-audio-fold-{fold}-00000.tar", samples(labels, sound="wav")
        )
    pattern = f"wds:{tmp_path}/wds-audio-fold-*.tar"
    dataset = load_dataset(pattern)
    assert dataset.task == "single-label"
    assert dataset.classes == ("0", "1")
    assert [protocol.name for protocol in dataset.all_protocols] == [
        "test fold 1 of 4 (fold 001)",
        "test fold 2 of 4 (fold 002)",
        "test fold 3 of 4 (fold 003)",
        "test fold 4 of 4 (fold 010)",
    ]
    assert {c.id.split("/")[0] for c in dataset.source_of("fold4")} == {
        "wds-audio-fold-10-00000.tar"
    }
    assert load_dataset(pattern, folds="archives").splits == dataset.splits
    by_rule = load_dataset(f"wds:{tmp_path}", folds="3")
    assert len(by_rule.all_protocols) == 3
    chosen = load_dataset(pattern, train_from="*-1-*,*-2-*", test_from="*-10-*")
    assert chosen.splits["test"] == 4
    assert "not used: wds-audio-fold-3-00000.tar" in chosen.notes


@pytest.mark.parametrize(
    ("suffix", "label", "classes"),
    [
        ("json", lambda i: {"labels": ["a", "b"][: i % 3], "id": i}, ("a", "b")),
        ("json", lambda i: {"x": "ab"[i % 2]}, ("a", "b")),
        ("json", lambda i: "ab"[i % 2], ("a", "b")),
        ("json", lambda i: {"target": [i % 2, 1, 0]}, ("0", "1", "2")),
        ("json", lambda i: {"label": 9 + i % 3}, ("9", "10", "11")),
        ("cls", lambda i: i % 2, ("0", "1")),
        ("txt", lambda i: f"{'ab'[i % 2]}\n", ("a", "b")),
    ],
)
def test_labels_are_found(tmp_path, suffix, label, classes):
    labels = {f"clip{i}": label(i) for i in range(12)}
    pack(tmp_path / "all.tar", samples(labels, suffix))
    dataset = load_dataset(f"wds:{tmp_path}")
    assert dataset.classes == classes
    assert sum(dataset.splits.values()) == 12
    assert dataset.all_protocols[0].name == "validation and test made by rule, by file"


def test_options_name_labels_groups_and_splits(tmp_path):
    train = {
        f"t{i}": {"label": "x", "kind": "ab"[i % 2], "site": i // 3} for i in range(12)
    }
    test = {f"e{i}": {"label": "x", "kind": "a", "site": 9} for i in range(2)}
    pack(tmp_path / "one.tar", samples(train))
    pack(tmp_path / "two.tar", samples(test))
    dataset = load_dataset(
        f"wds:{tmp_path}",
        label_column="kind",
        group_column="site",
        train_from="one*",
        test_from="two.tar",
    )
    assert dataset.classes == ("a", "b")
    assert dataset.splits["test"] == 2
    split_of = {}
    for split, found in clips(dataset).items():
        for clip in found:
            assert split_of.setdefault(dataset.groups[clip.id], split) == split


def test_events_have_onsets_and_offsets(tmp_path):
    labels = {
        f"clip{i}": [{"onset": 0.01, "offset": 0.04, "label": "Speech,Dog"}]
        if i % 2
        else []
        for i in range(12)
    }
    pack(tmp_path / "wds-audio-all.tar", samples(labels))
    dataset = load_dataset(f"wds:{tmp_path}")
    assert dataset.classes == ("Dog", "Speech")
    assert sorted(by_id(dataset)["wds-audio-all.tar/clip1.flac"].events) == [
        (0, 0.01, 0.04),
        (1, 0.01, 0.04),
    ]
    assert not by_id(dataset)["wds-audio-all.tar/clip2.flac"].labels


BAD = {
    "no json": ([("z.flac", b"x")], "z.flac: has no json beside it"),
    "no label": (samples({"z": {"sound": 1}}), "its json has no label, only sound"),
    "a list": (samples({"z": [1]}), "its json holds a list, not an object with label"),
    "null": (samples({"z": {"label": None}}), "z.flac: has no label"),
    "a number": (samples({"z": {"label": 3}}), "its label is a name, but that of"),
    "an object": (
        samples({"z": {"label": {"a": 1}}}),
        "its label is {'a': 1}, neither",
    ),
    "damaged": ([("z.flac", b"x"), ("z.json", b"{")], "its json is damaged"),
    "deep": ([("z.flac", b"x"), ("z.json", b"[" * 99_999)], "its json is damaged"),
    "an event": (
        samples({"z": {"label": [{"onset": 3, "offset": 1, "label": "a"}]}}),
        "z.flac: an event cannot last from 3 to 1 s",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_samples_are_named(tmp_path, name):
    members, message = BAD[name]
    pack(tmp_path / "t.tar", [*samples(some("t")), *members])
    told = refusal(f"wds:{tmp_path}")
    assert message in told
    assert "t.tar/z.flac" in told
    assert "\n" not in told


def test_bad_samples_may_be_skipped(tmp_path):
    bad = [member for name in ("null", "damaged") for member in BAD[name][0]]
    renamed = [(f"{i // 2}{name}", content) for i, (name, content) in enumerate(bad)]
    pack(tmp_path / "t.tar", [*samples(some("t", 12)), *renamed])
    dataset = load_dataset(f"wds:{tmp_path}", on_bad="skip")
    assert sum(dataset.splits.values()) == 12
    assert [n for n in dataset.notes if n.startswith("2 rows left out (1 its json is")]


def test_archives_without_a_use_are_refused(tmp_path):
    place = f"wds:{tmp_path}"
    pack(tmp_path / "test.tar", samples(some("t")))
    assert "no archive is for training, there are test.tar" in refusal(place)
    assert "train_from=x* names none of its archives test.tar" in refusal(
        place, train_from="x*"
    )
    twice = refusal(place, train_from="t*", test_from="*.tar")
    assert "test.tar is for train and for test" in twice
    assert "folds=archives needs a number" in refusal(place, folds="archives")
    assert "data_dir is not used" in refusal(place, data_dir=tmp_path)
    pack(tmp_path / "test.tar", [("a.json", b"{}"), ("a.npy", b"")])
    assert "none of its samples can be used" in refusal(place, train_from="*")
    pack(tmp_path / "test.tar", samples({"a": {"x": 1, "y": 2}}))
    assert "its json has x, y; dataset_options.label_column names" in refusal(
        place, train_from="*"
    )
