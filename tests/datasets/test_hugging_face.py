"""Data sets as the library `datasets` writes them, in folders and on the hub."""

import pyarrow as pa
import pyarrow.parquet as pq

from tests.datasets.hub_folders import hub_dataset, push, sounds, two_classes
from tests.datasets.miniatures import by_id, class_names, clips, refusal
from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets import load_dataset


def test_a_folder_with_declared_columns_needs_no_option(tmp_path):
    splits = {"train": two_classes(6, "a"), "test": two_classes(3, "b")}
    push(tmp_path / "birds", splits, shards=2)
    dataset = load_dataset(f"hf:{tmp_path}/birds")
    assert dataset.name == "hf:birds"
    assert dataset.source == "birds, columns audio and label"
    assert dataset.licence == "cc-by-4.0"
    assert dataset.task == "single-label"
    assert dataset.classes == ("on", "off")
    assert dataset.splits == {"train": 4, "validation": 2, "test": 3}
    assert dataset.all_protocols[0].name == "validation made by rule, by file"
    found = by_id(dataset)
    for row, sound in enumerate(sounds(2, "b")):
        clip = found[f"data/test-00000-of-00002.parquet/{row}"]
        waveform, rate = decode_audio(sound["bytes"], "")
        assert (clip.waveform == waveform).all()
        assert (clip.sample_rate, clip.labels) == (rate, (row,))
    splits["train"].to_parquet(tmp_path / "one.parquet")
    one = load_dataset(f"hf:{tmp_path}/one.parquet")
    assert (one.name, sum(one.splits.values())) == ("hf:one", 6)
    # The same rows, saved in the other format.
    splits["train"].save_to_disk(tmp_path / "disk")
    saved = load_dataset(f"hf:{tmp_path}/disk")
    assert saved.splits == {"train": 4, "validation": 1, "test": 1}


def test_lists_of_class_labels_and_groups(tmp_path):
    from datasets import ClassLabel, List, Value

    several = [[0, 1], [1], [], [0], [1, 0], [0], [1], [0, 1]]
    sites = [1, 1, 2, 2, 3, 3, 10, 10]
    made = hub_dataset(
        {"audio": sounds(8), "kinds": several, "site": sites},
        kinds=List(ClassLabel(names=["wren", "gull"])),
        site=Value("int64"),
    )
    place = f"hf:{push(tmp_path, {'train': made})}"
    dataset = load_dataset(place)
    assert dataset.task == "multi-label"
    assert sum(len(clip.labels) for clip in by_id(dataset).values()) == 10
    assert len(load_dataset(place, folds="4").all_protocols) == 4
    by_site = load_dataset(place, group_column="site", folds="groups")
    assert [protocol.name for protocol in by_site.all_protocols] == [
        f"test fold {k} of 4 ({site})"
        for k, site in enumerate(("01", "02", "03", "10"), 1)
    ]
    assert len(set(map(by_site.groups.get, by_site.ids("fold4")))) == 1


def test_class_names_may_stand_in_the_readme_alone(tmp_path):
    push(tmp_path, {"train": two_classes(6)})
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    plain = pq.read_table(path).replace_schema_metadata(None)
    pq.write_table(plain, path)
    assert load_dataset(f"hf:{tmp_path}").classes == ("on", "off")
    (tmp_path / "README.md").unlink()
    assert load_dataset(f"hf:{tmp_path}").classes == ("0", "1")


def test_tables_without_any_features(tmp_path):
    audio = pa.array([sound["bytes"] for sound in sounds(8)])
    labels = {
        "text": [f"{'ab'[i % 2]}" for i in range(8)],
        "many": [[1, 0, i % 2] for i in range(8)],
        "list": ["a,b" if i % 2 else "b" for i in range(8)],
    }
    pq.write_table(pa.table({"wave": audio, **labels}), tmp_path / "all.parquet")
    place = f"hf:{tmp_path}"
    assert (
        "there are wave, text, many, list; name it with dataset_options.label_"
        in refusal(place)
    )
    assert load_dataset(place, label_column="text").classes == ("a", "b")
    hot = load_dataset(place, label_column="many", folds="3")
    assert (hot.task, hot.classes) == ("multi-label", ("0", "1", "2"))
    told = refusal(place, label_column="list")
    assert "all.parquet, row 1, list: its label 'a,b'" in told
    split = load_dataset(place, label_column="list", label_separator=",")
    assert (split.task, split.classes) == ("multi-label", ("a", "b"))


def test_tables_may_number_their_classes_differently(tmp_path):
    from datasets import ClassLabel

    def of(prefix, names):
        columns = {"audio": sounds(6, prefix), "label": [0, 0, 0, 1, 1, 1]}
        return hub_dataset(columns, label=ClassLabel(names=names))

    splits = {"train": of("a", ["wren", "gull"]), "test": of("b", ["gull", "crow"])}
    dataset = load_dataset(f"hf:{push(tmp_path / 'a', splits, has_card=False)}")
    assert dataset.classes == ("wren", "gull", "crow")
    labels = [clip.labels for clip in dataset.source_of("test")]
    assert labels == [(1,), (1,), (1,), (2,), (2,), (2,)]
    told = refusal(f"hf:{push(tmp_path / 'b', splits)}")
    assert (
        "test-00000-of-00001.parquet, column label: its classes are gull, cro" in told
    )


def test_splits_are_chosen_by_options(tmp_path):
    splits = {name: two_classes(6, name) for name in ("train", "test", "test_5s")}
    place = f"hf:{push(tmp_path, splits)}"
    dataset = load_dataset(place, test_from="test_5s")
    assert {clip.id.split("-")[0] for clip in dataset.source_of("test")} == {
        "data/test_5s"
    }
    assert "not used: split test" in dataset.notes
    assert "its clips have given splits; folds=3 needs" in refusal(place, folds="3")
    pooled = load_dataset(place, train_from="train,test,test_5s", folds="3")
    assert sum(pooled.splits.values()) == 18


def test_configurations_are_named_after_a_colon(tmp_path):
    for config, count in (("small", 6), ("large", 8)):
        push(tmp_path, {"train": two_classes(count, config)}, config)
    place = f"hf:{tmp_path}"
    assert "has the configurations large, small; name one of them" in refusal(place)
    dataset = load_dataset(f"{place}:large")
    assert dataset.name == f"hf:{tmp_path.name}:large"
    assert sum(dataset.splits.values()) == 8


# Known data sets


def test_esc50_has_its_folds_and_a_warning(tmp_path):
    from datasets import Value

    columns = {
        "filename": [f"{1 + i % 5}-{i}-A-{i % 2}.wav" for i in range(10)],
        "fold": [1 + i % 5 for i in range(10)],
        "target": [i // 5 for i in range(10)],
        "category": ["dog" if i < 5 else "rain" for i in range(10)],
        "esc10": [True] * 10,
        "src_file": list(range(10)),
        "take": ["A"] * 10,
    }
    kinds = {"fold": "int64", "target": "int64", "esc10": "bool", "src_file": "int64"}
    features = {name: Value(kinds.get(name, "string")) for name in columns}
    made = hub_dataset({"audio": sounds(10), **columns}, **features)
    place = f"hf:{push(tmp_path / 'copy', {'train': made})}"
    assert "there are audio, filename, fold, target, ca" in refusal(place)
    options = {"group_column": "fold", "folds": "groups"}
    dataset = load_dataset(place, label_column="category", **options)
    assert dataset.classes == ("dog", "rain")
    assert dataset.splits == {f"fold{k}": 2 for k in range(1, 6)}
    assert dataset.notes[0].startswith("ESC-50: random splits share recordings")


def test_birdset_has_lists_of_species(tmp_path):
    from datasets import ClassLabel, List, Value

    species = ClassLabel(names=["gcrfin", "whcspa", "amepip"])

    def of(prefix, labels):
        return hub_dataset(
            {
                "audio": sounds(len(labels), prefix),
                "filepath": [f"{prefix}{i}.ogg" for i in range(len(labels))],
                "ebird_code": [of_clip[0] if of_clip else None for of_clip in labels],
                "ebird_code_multilabel": labels,
            },
            filepath=Value("string"),
            ebird_code=species,
            ebird_code_multilabel=List(species),
        )

    splits = {
        "train": of("x", [[0], [1], [0, 1], [0], [1]]),
        "test_5s": of("y", [[], [2]]),
    }
    place = f"hf:{push(tmp_path, splits, 'HSN', has_card=False)}"
    told = refusal(place)
    assert "it may be ebird_code, ebird_code_multilabel" in told
    dataset = load_dataset(place, label_column="ebird_code_multilabel")
    assert dataset.name == f"hf:{tmp_path.name}:HSN"
    assert dataset.classes == ("gcrfin", "whcspa", "amepip")
    assert [len(clip.labels) for clip in dataset.source_of("test")] == [0, 1]
    assert any(note.startswith("BirdSet: ") for note in dataset.notes)


def test_speech_commands_has_one_class_label(tmp_path):
    from datasets import Value

    extra = {
        "file": ([f"on/{i:08d}_nohash_0.wav" for i in range(6)], Value("string")),
        "is_unknown": ([False] * 6, Value("bool")),
        "speaker_id": (["a", "b", "c"] * 2, Value("string")),
        "utterance_id": ([0] * 6, Value("int8")),
    }
    splits = {
        split: two_classes(6, split, **extra)
        for split in ("train", "validation", "test")
    }
    dataset = load_dataset(f"hf:{push(tmp_path, splits, 'v0.02')}:v0.02")
    assert dataset.splits == {"train": 6, "validation": 6, "test": 6}
    assert dataset.all_protocols[0].name == "given splits"
    assert any(note.startswith("Speech Commands: ") for note in dataset.notes)


def test_fsd50k_has_names_in_one_text(tmp_path):
    from datasets import Value

    def of(prefix, labels):
        return hub_dataset(
            {
                "audio": sounds(len(labels), prefix),
                "fname": list(range(len(labels))),
                "labels": labels,
            },
            fname=Value("int64"),
            labels=Value("string"),
        )

    made = of("a", ["Bark,Dog", "Dog", "Hi-hat", "Hi-hat,Dog"])
    splits = {"train": made, "dev": made, "eval": of("b", ["Dog"])}
    place = f"hf:{push(tmp_path / 'fsd50k', splits)}"
    assert "dataset_options.label_separator=',' separates its names" in refusal(place)
    dataset = load_dataset(place, label_separator=",")
    assert dataset.splits == {"train": 4, "validation": 4, "test": 1}
    assert dataset.classes == ("Bark", "Dog", "Hi-hat")
    first = next(iter(clips(dataset)["train"]))
    assert class_names(dataset, first) == {"Bark", "Dog"}
    assert dataset.notes[0].startswith("FSD50K: many clips of FSDKaggle2018 and")


# Damaged and hostile tables


def write(folder, audio=None, label=None, kind=None):
    """Writes a table of five good rows and one that a test damages."""
    column = [*(sound["bytes"] for sound in sounds(6)), audio]
    labels = [*("a", "b") * 3, label] if label != 7 else [0, 1] * 3 + [7]
    table = pa.table({"audio": pa.array(column, kind), "label": labels})
    pq.write_table(table, folder / "t.parquet")
    return f"hf:{folder}"


def test_a_row_without_audio_is_named(tmp_path):
    place = write(tmp_path, None, "a")
    told = refusal(place)
    assert "t.parquet, row 6: column audio is empty; on_bad='skip'" in told
    dataset = load_dataset(place, on_bad="skip")
    assert sum(dataset.splits.values()) == 6
    assert "1 unreadable clip skipped: " in str(dataset.notes)


def test_a_row_without_label_is_named(tmp_path):
    place = write(tmp_path, sounds(1)[0]["bytes"], None)
    assert "t.parquet, row 6, label: has no label" in refusal(place)
    dataset = load_dataset(place, on_bad="skip")
    assert sum(dataset.splits.values()) == 6
    assert dataset.notes[0].startswith("1 rows left out (1 has no label), the first: ")


def test_a_row_that_is_no_audio_is_named(tmp_path):
    told = refusal(write(tmp_path, b"not audio", "a"))
    assert "t.parquet, row 6" in told
    assert "\n" not in told


def test_labels_outside_the_class_names_are_named(tmp_path):
    push(tmp_path, {"train": two_classes(4)})
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    for label, message in (
        (2, "its label is 2, of classes 0 to 1"),
        (-1, "its label is -1"),
    ):
        labels = pa.array([0, 1, 0, label])
        pq.write_table(table.set_column(1, "label", labels).cast(table.schema), path)
        assert f"00001.parquet, row 3, label: {message}" in refusal(f"hf:{tmp_path}")


def test_columns_of_nested_nonsense_are_refused(tmp_path):
    deep = [[{"a": [{"b": i}]}] for i in range(4)]
    audio = [sound["bytes"] for sound in sounds(4)]
    pq.write_table(pa.table({"audio": audio, "label": deep}), tmp_path / "t.parquet")
    assert "t.parquet, row 0, label: its label is {'a'" in refusal(f"hf:{tmp_path}")
    pq.write_table(
        pa.table({"audio": deep, "label": [0, 1, 0, 1]}), tmp_path / "t.parquet"
    )
    assert "does not say which column holds the audios" in refusal(f"hf:{tmp_path}")
    told = refusal(f"hf:{tmp_path}", audio_column="audio")
    assert "t.parquet: column audio holds list" in told
    group = refusal(write(tmp_path, b"x", "a"), group_column="audio")
    assert "t.parquet, row 0: group_column audio is a bytes" in group


def test_one_table_of_several_may_lack_a_column(tmp_path):
    write(tmp_path, sounds(1)[0]["bytes"], "a")
    pq.write_table(pa.table({"audio": [b"x"]}), tmp_path / "u.parquet")
    assert "u.parquet: has no column label, only audio" in refusal(f"hf:{tmp_path}")
