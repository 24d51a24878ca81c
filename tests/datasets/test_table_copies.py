"""Copies in tables give the clips that the published files give."""

import csv
import io
import pathlib
import tarfile
import zipfile

import pyarrow.parquet as pq
import pytest

from tests.datasets.conftest import esc50
from tests.datasets.hub_folders import hub_dataset, push
from tests.datasets.layouts import WORDS
from tests.datasets.miniatures import MINIATURES, by_id, refusal
from tests.hub import running_hub
from unmute_jax.datasets import load_dataset
from unmute_jax.datasets.birdset_subsets import classes_of
from unmute_jax.datasets.table_copies import fsd50k_vocabulary


def same_data_set(name, place, copy):
    """Loads the published files and a copy, which must be the same data set."""
    published = load_dataset(name, data_dir=place)
    dataset = load_dataset(name, data_dir=copy)
    assert dataset.classes == published.classes
    assert dataset.splits == published.splits
    assert dataset.all_protocols == published.all_protocols
    for split in dataset.splits:
        assert dataset.ids(split) == published.ids(split)
    assert dataset.fingerprints == published.fingerprints
    assert dataset.groups == published.groups
    return dataset


def rows_of(files, **features):
    """Returns a `datasets.Dataset` of files and what is said about each."""
    from datasets import Value

    kinds = {int: Value("int64"), bool: Value("bool"), str: Value("string")}
    columns = {"audio": [{"bytes": p.read_bytes(), "path": p.name} for p in files]}
    values = list(files.values())
    for name, value in values[0].items():
        columns[name] = [about[name] for about in values]
        features.setdefault(name, kinds.get(type(value)))
    return hub_dataset(columns, **features)


# ESC-50


@pytest.fixture(scope="module")
def esc50_rows(tmp_path_factory):
    """The miniature of ESC-50, and the rows that `ashraq/esc50` has for it."""
    miniature = esc50(tmp_path_factory.mktemp("esc50"))
    files = {}
    for line in csv.DictReader(miniature.csv.read_text().splitlines()):
        numbers = {key: int(line[key]) for key in ("fold", "target", "src_file")}
        about = line | numbers | {"esc10": line["esc10"] == "True"}
        files[miniature.audio(line["filename"])] = about
    return miniature.root, files


@pytest.mark.parametrize("name", ["esc50", "esc10"])
def test_esc50(tmp_path, esc50_rows, name):
    root, files = esc50_rows
    place = push(tmp_path / "copy", {"train": rows_of(files)}, shards=2)
    dataset = same_data_set(name, root, place)
    assert dataset.source == "ESC-50 copy in tables (copy)"


def test_names_of_files_say_what_columns_do_not(tmp_path, esc50_rows):
    root, files = esc50_rows
    made = rows_of({path: {"take": "A"} for path in files})
    same_data_set("esc50", root, push(tmp_path / "copy", {"train": made}))
    nameless = made.map(lambda row: {"audio": {**row["audio"], "path": None}})
    told = refusal("esc50", data_dir=push(tmp_path / "b", {"train": nameless}))
    assert "its tables have no column filename, only audio, take" in told


def test_esc50_without_folds_is_refused(tmp_path, esc50_rows):
    _, files = esc50_rows
    named = {
        path: {**about, "filename": path.name[1:]} for path, about in files.items()
    }
    made = rows_of(named).remove_columns("fold")
    told = refusal("esc50", data_dir=push(tmp_path, {"train": made}))
    assert "cannot be read as ESC-50: its tables have no column fold, only" in told
    assert f"hf:{tmp_path} reads it as it is" in told
    wrong = {path: {**about, "target": 50} for path, about in files.items()}
    told = refusal("esc50", data_dir=push(tmp_path / "b", {"train": rows_of(wrong)}))
    assert "target is '50', not 0 to 49" in told


def test_a_copy_on_the_hub(tmp_path, monkeypatch, esc50_rows):
    root, files = esc50_rows
    place = push(tmp_path / "copy", {"train": rows_of(files)})
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        for path in place.rglob("*.*"):
            name = path.relative_to(place).as_posix()
            file = f"/datasets/owner/esc50/resolve/main/{name}"
            hub.files[file] = path.read_bytes()
        same_data_set("esc50", root, "hf:owner/esc50")


# FSD50K


def fsd50k_rows(place, form):
    """Returns the rows of dev and eval, with labels in one of several forms."""
    with zipfile.ZipFile(place / "whole.eval_audio.zip") as packed:
        packed.extractall(place)
    splits = {"train": {}, "dev": {}, "eval": {}}
    for table, folder in (("dev", "dev_audio"), ("eval", "eval_audio")):
        text = (place / "FSD50K.ground_truth" / f"{table}.csv").read_text()
        for line in csv.DictReader(io.StringIO(text)):
            split = {"train": "train", "val": "dev"}.get(line.get("split"), "eval")
            labels = [part.strip() for part in line["labels"].split(",")]
            about = {"fname": int(line["fname"]), "labels": form(labels)}
            splits[split][place / f"FSD50K.{folder}" / f"{line['fname']}.wav"] = about
    return splits


def fsd50k_place(folder):
    """Makes the miniature of FSD50K with names and the order of its vocabulary."""
    place = MINIATURES["fsd50k"].make(folder)
    ground = place / "FSD50K.ground_truth"
    for name in ("dev", "eval"):
        text = (ground / f"{name}.csv").read_text()
        (ground / f"{name}.csv").write_text(text.replace("Crowd_(people)", "Crowd"))
    lines = [f"{i},{n},{m}" for i, (n, m) in enumerate(fsd50k_vocabulary().items())]
    (ground / "vocabulary.csv").write_text("\n".join(lines))
    return place


def blanks(labels):
    return [label.replace("_", " ") for label in labels]


def identifiers(labels):
    return ",".join(fsd50k_vocabulary()[label] for label in labels)


@pytest.mark.parametrize("form", [",".join, blanks, identifiers])
@pytest.mark.parametrize("has_names", [True, False])
def test_fsd50k(tmp_path, form, has_names):
    from datasets import List, Value

    place = fsd50k_place(tmp_path / "published")
    feature = List(Value("string")) if form is blanks else Value("string")
    splits = {
        split: rows_of(files, labels=feature)
        for split, files in fsd50k_rows(place, form).items()
    }
    if not has_names:
        splits = {split: made.remove_columns("fname") for split, made in splits.items()}
    copy = push(tmp_path / "copy", splits)
    dataset = same_data_set("fsd50k", place, copy)
    assert any("FSDKaggle" in note for note in dataset.notes)


def test_fsd50k_copies_that_do_not_fit_are_refused(tmp_path):
    place = fsd50k_place(tmp_path / "published")
    made = {s: rows_of(f) for s, f in fsd50k_rows(place, ",".join).items()}
    whole = {"train": made["train"], "test": made["eval"]}
    told = refusal("fsd50k", data_dir=push(tmp_path / "a", whole))
    assert "its split train does not say which clips are for validation" in told
    told = refusal("fsd50k", data_dir=push(tmp_path / "b", {"train": made["train"]}))
    assert "it has no split test or eval or evaluation, only train" in told
    rows = fsd50k_rows(place, lambda _: "Dragon")
    made["eval"] = rows_of(rows["eval"])
    told = refusal("fsd50k", data_dir=push(tmp_path / "c", made))
    assert "eval-00000-of-00001.parquet, row 0: its label 'Dragon' is no class" in told


def test_the_vocabulary_is_the_official_one():
    names = list(fsd50k_vocabulary())
    assert len(names) == 200
    assert names == sorted(names)
    assert fsd50k_vocabulary()["Typewriter"] == "/m/0c2wf"


# Speech Commands


def speech_commands(place, test):
    """Returns the rows that `google/speech_commands` has for a folder of words."""
    from datasets import ClassLabel

    lists = {
        name: set((place / f"{name}_list.txt").read_text().split())
        for name in ("validation", "testing")
    }
    splits = {"train": {}, "validation": {}, "test": {}}
    names = [*WORDS, "_silence_"]
    for path in sorted(place.glob("*/*.wav")):
        file = path.relative_to(place).as_posix()
        split = "validation" if file in lists["validation"] else "train"
        split = "validation" if path.stem == "running_tap" else split
        if file not in lists["testing"]:
            splits[split][path] = file
        elif not test:
            splits["test"][path] = file
    for path in sorted(test.glob("*/*.wav")) if test else ():
        splits["test"][path] = path.relative_to(test).as_posix()

    def about(path, file):
        word = file.split("/")[0]
        label = names.index(word) if word in WORDS else len(names) - 1
        return {"file": file, "label": label, "is_unknown": False}

    return {
        split: rows_of(
            {path: about(path, file) for path, file in files.items()},
            label=ClassLabel(names=names),
        )
        for split, files in splits.items()
    }


def test_speech_commands_of_twelve_classes(tmp_path):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    splits = speech_commands(tmp_path / "speech_commands_v0.02", tmp_path / "test")
    copy = push(tmp_path / "copy", splits, "v0.02")
    push(copy, {"train": splits["train"]}, "v0.01")
    published = load_dataset("sc2/twelve", data_dir=place)
    dataset = load_dataset("sc2/twelve", data_dir=copy)
    assert dataset.splits == published.splits
    assert by_id(dataset).keys() == by_id(published).keys()
    assert sorted(dataset.ids("test")) == sorted(published.ids("test"))
    told = refusal("sc2", data_dir=copy)
    assert "its test split has 12 clips of the twelve-class task and not those" in told


def test_speech_commands_of_all_words(tmp_path):
    place = MINIATURES["sc2"].make(tmp_path)
    copy = push(tmp_path / "copy", speech_commands(place, None))
    same_data_set("sc2", place, copy)
    told = refusal("sc2/twelve", data_dir=copy)
    assert "its test split is not that of the twelve classes" in told


# BirdSet


def birdset(place):
    """Returns the rows of the miniature of BirdSet, with its classes as indices."""
    from datasets import ClassLabel, List, Value

    names = classes_of("HSN")
    feature = ClassLabel(names=[*names])
    # Some copies have a class for windows without a bird.
    several_of = ClassLabel(names=["no_call", *names])
    ogg = {p.name: p for p in place.parent.rglob("*.ogg")}
    made = {}
    for split in ("train", "test_5s"):
        rows = pq.read_table(place / f"HSN_metadata_{split}.parquet").to_pylist()
        files = {}
        for row in rows:
            name = pathlib.PurePosixPath(row["filepath"]).name
            several = [c for c in row["ebird_code_multilabel"] if c in names]
            about = row | {"ebird_code_multilabel": several or ["no_call"]}
            if name in ogg:
                files[ogg[name]] = about
        features = {
            "ebird_code_multilabel": List(several_of),
            "filepath": Value("string"),
        }
        if split == "train":
            features |= {
                "ebird_code": feature,
                "ebird_code_secondary": List(Value("string")),
                "length": Value("int64"),
                "detected_events": List(List(Value("float64"))),
                "event_cluster": List(Value("int64")),
            }
        made[split] = rows_of(files, **features)
    return made


@pytest.fixture(scope="module")
def birdset_rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("birdset")
    place = MINIATURES["hsn"].make(folder)
    for packed in place.glob("*.tar.gz"):
        with tarfile.open(packed) as tar:
            tar.extractall(folder / "unpacked", filter="data")
    return place, birdset(place)


@pytest.mark.parametrize("name", ["hsn", "hsn/64shot"])
def test_birdset(tmp_path, birdset_rows, name):
    place, splits = birdset_rows
    copy = push(tmp_path / "copy", splits, "HSN")
    push(copy, {"train": splits["train"]}, "POW")
    assert same_data_set(name, place, copy).splits["test"] == 2


def test_birdset_copies_that_do_not_fit_are_refused(tmp_path, birdset_rows):
    _, splits = birdset_rows
    copy = push(tmp_path / "a", splits)
    told = refusal("pow", data_dir=copy)
    assert "cannot be read as BirdSet POW: it has the 21 classes gcrfin, whcspa" in told
    made = {"test": splits["train"], "test_5s": splits["test_5s"]}
    told = refusal("hsn", data_dir=push(tmp_path / "b", made))
    assert "it has no split train, only test, test_5s" in told


# AudioSet


def test_audioset_as_the_hub_converts_it(tmp_path, place_of):
    place = place_of("as20k")
    for folder, split in (("bal_train", "train"), ("eval", "test")):
        for path in sorted((place / "data" / folder).iterdir()):
            made = tmp_path / "balanced" / split / f"00{path.name}"
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(path.read_bytes())
    same_data_set("as20k", place, tmp_path)


def test_other_tables_are_refused(tmp_path, esc50_rows):
    _, files = esc50_rows
    copy = push(tmp_path, {"train": rows_of(files)})
    told = refusal("as20k", data_dir=copy)
    assert "its tables have no column labels or human_labels, only audio, categ" in told
    told = refusal("urban", data_dir=copy)
    assert "no URBAN-SED" in told
    assert f"hf:{copy} reads the tables there" in told
