import json

import pytest

from tests.datasets.hub_folders import hub_dataset, sounds
from unmute_jax.datasets.features import Feature
from unmute_jax.datasets.hub_layout import (
    choose_splits,
    layout_of,
    layout_on_disk,
    usual_split,
)
from unmute_jax.errors import InputError


def layout(*names, card=None, config=""):
    return layout_of(names, card or {}, config, "o/n")


def refused(*names, card=None, config=""):
    with pytest.raises(InputError) as caught:
        layout(*names, card=card, config=config)
    return str(caught.value)


def shards(stem, count, suffix=".parquet"):
    return [f"{stem}-{i:05d}-of-{count:05d}{suffix}" for i in range(count)]


@pytest.mark.parametrize(
    ("names", "config", "splits"),
    [
        (shards("data/train", 2, "-2f1ab7b824ec751f.parquet"), "", {"train": 2}),
        ([*shards("data/test_5s", 1), *shards("data/train", 3)], "",
         {"test_5s": 1, "train": 3}),
        (["train.parquet", "my_eval.parquet", "dev-1.parquet", "dev-2.parquet"], "",
         {"train": 1, "test": 1, "validation": 2}),
        (["train/a.parquet", "train/b.parquet", "test/a.parquet"], "",
         {"train": 2, "test": 1}),
        (["data/bal_train/00.parquet", "data/eval/00.parquet"], "",
         {"bal_train": 1, "eval": 1}),
        (["HSN/test_5s/0000.parquet", "HSN/train/0000.parquet", "POW/a.parquet"],
         "HSN", {"train": 1, "test_5s": 1}),
        ([*shards("HSN/train", 2), *shards("POW/train", 1)], "HSN", {"train": 2}),
        (["default/partial-train/0000.parquet", "default/partial-train/0001.parquet"],
         "default", {"partial-train": 2}),
        (["a.parquet", "b.parquet", ".cache/c.parquet", "__pycache__/d.parquet"], "",
         {"train": 2}),
        (["train/cache-1.arrow", *shards("train/esc-train", 1, ".arrow")], "",
         {"esc-train": 1}),
    ],
)  # fmt: skip
def test_names_say_configuration_and_split(names, config, splits):
    found = layout(*names, "README.md", "audio/a.wav", config=config)
    assert {split: len(tables) for split, tables in found.splits.items()} == splits
    assert found.config == config


def card(*configs, **more):
    return {"configs": list(configs), **more}


@pytest.mark.parametrize(
    "files",
    [
        [
            {"split": "train", "path": "d/tr*"},
            {"split": "test", "path": ["d/te*.parquet"]},
        ],
        {"train": "d/tr*", "test": ["d/te*"]},
        [
            {"split": "train", "path": "**/tr*"},
            {"split": "test", "path": "./d/te?.parquet"},
        ],
    ],
)
def test_the_readme_says_configuration_and_split(files):
    names = ["d/tr1.parquet", "d/tr2.parquet", "d/te1.parquet", "te2.parquet"]
    about = card({"config_name": "x", "data_files": files})
    assert layout(*names, card=about).splits == {
        "train": ("d/tr1.parquet", "d/tr2.parquet"),
        "test": ("d/te1.parquet",),
    }


def test_one_of_several_configurations_is_named():
    names = ["a/train.parquet", "b/train.parquet"]
    a = {"config_name": "a", "data_files": "*.parquet", "data_dir": "a"}
    b = {"config_name": "b", "data_files": ["b/*"]}
    for about in (card(a, b), {}):
        told = refused(*names, card=about)
        assert "has the configurations a, b; name one of them, as in hf:o/n:a" in told
        assert layout(*names, card=about, config="b").splits["train"] == (names[1],)
        assert "did you mean 'b'?" in refused(*names, card=about, config="bb")
    assert layout(*names, card=card(a, {**b, "default": True})).config == "b"
    assert "has no configurations, 'x' was given" in refused("t.parquet", config="x")
    # Only one of them was downloaded.
    assert layout(names[1], card=card(a, b)).config == "b"
    assert (
        "names files for split train of configuration a, and none of them"
        in refused(names[1], card=card(a, b), config="a")
    )


def test_the_readme_declares_class_names():
    names = {"class_label": {"names": {"0": "dog", "1": "on"}}}
    features = [
        {"name": "audio", "dtype": "audio"},
        {"name": "label", "dtype": names},
        {"name": "one", "sequence": names},
        {"name": "two", "list": [{"dtype": names}]},
        {"name": "x", "dtype": "int64"},
    ]
    expected = {
        "audio": Feature("audio"),
        "label": Feature("label", ("dog", "on")),
        "one": Feature("labels", ("dog", "on")),
        "two": Feature("labels", ("dog", "on")),
        "x": Feature("value"),
    }
    one = {"dataset_info": {"features": features}}
    assert layout("train.parquet", card=one).features == expected
    several = {
        "dataset_info": [
            {"config_name": "a", "features": []},
            {"config_name": "default", "features": features},
        ]
    }
    assert layout("train.parquet", card=several).features == expected


BAD_CARDS = {
    "no file": (
        card({"data_files": "x/*.parquet"}),
        r"README\.md names files for split train of configuration default, and none",
    ),
    "no path": (card({"data_files": [{"split": "train"}]}), "data_files without paths"),
    "a number": (card({"data_files": 3}), "data_files without paths"),
    "YAML": (
        {"dataset_info": {"features": [
            {"name": "l", "dtype": {"class_label": {"names": {"0": True, "1": "b"}}}}
        ]}},
        "o/n, column l: its class names are not all texts; in YAML, .* need quotes",
    ),
    "gap": (
        {"dataset_info": {"features": [
            {"name": "l", "dtype": {"class_label": {"names": {"1": "a"}}}}
        ]}},
        "its class names are not numbered from 0",
    ),
    "twice": (
        {"dataset_info": {"features": [
            {"name": "l", "dtype": {"class_label": {"names": ["a", "a"]}}}
        ]}},
        "two classes are named 'a'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CARDS)
def test_a_readme_that_says_something_wrong_is_refused(name):
    about, message = BAD_CARDS[name]
    with pytest.raises(InputError, match=message):
        layout("train.parquet", card=about)


@pytest.mark.parametrize(
    "about", [{"configs": 3}, {"configs": ["v1"]}, {"dataset_info": ["x", 3]}]
)
def test_a_readme_that_says_something_else_is_ignored(about):
    assert layout("train.parquet", card=about).splits == {"train": ("train.parquet",)}


def test_missing_tables_are_told():
    names = shards("data/train", 3)
    told = refused(names[0], names[2])
    assert "o/n, split train: has 2 of 3 tables; number 00001 is missing" in told
    twice = [*names, "data/train-00000-of-00003-2f1ab7b824ec751f.parquet"]
    assert "has 4 tables that call themselves 3" in refused(*twice)


def test_what_save_to_disk_writes(tmp_path):
    import datasets

    made = hub_dataset({"audio": sounds(3)})
    made.save_to_disk(tmp_path / "one", num_shards=2)
    names = ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow")
    assert layout_on_disk(tmp_path / "one").splits == {"train": names}
    both = datasets.DatasetDict({"train": made, "dev": made})
    both.save_to_disk(tmp_path / "both")
    table = "data-00000-of-00001.arrow"
    assert layout_on_disk(tmp_path / "both").splits == {
        "train": (f"train/{table}",),
        "dev": (f"dev/{table}",),
    }
    (tmp_path / "both" / "dev" / table).unlink()
    with pytest.raises(InputError, match=r"dev/data-00000-of-00001\.arrow is missing"):
        layout_on_disk(tmp_path / "both")
    for state in (
        [],
        {"_data_files": "x"},
        {"_data_files": [3]},
        {"_data_files": [{}]},
    ):
        (tmp_path / "one" / "state.json").write_text(json.dumps(state))
        with pytest.raises(InputError, match=r"state\.json: is missing or damaged"):
            layout_on_disk(tmp_path / "one")
    assert layout_on_disk(tmp_path) is None


def test_usual_names_of_splits():
    found = {name: usual_split(name) for name in (
        "train", "wds-audio-valid", "fsd50k_eval", "train-clean-100", "Training",
        "validated", "contest", "test5", "esc50",
    )}  # fmt: skip
    assert found == {
        "train": "train", "wds-audio-valid": "validation", "fsd50k_eval": "test",
        "train-clean-100": "train", "Training": "train",
        "validated": "", "contest": "", "test5": "test", "esc50": "",
    }  # fmt: skip


def choose(*there, **given):
    return choose_splits(
        there, {"train": "", "validation": "", "test": "", **given}, "o/n"
    )


def test_splits_are_chosen():
    assert choose("train", "test") == {"train": ["train"], "test": ["test"]}
    assert choose("bal_train", "eval") == {"train": ["bal_train"], "test": ["eval"]}
    assert choose("train", "test", "test_5s") == choose("train", "test")
    assert choose("train", "test", "test_5s", test="test_5s")["test"] == ["test_5s"]
    assert choose("all") == {"train": ["all"]}
    assert choose("a", "b", "c", train="a, c", test="b") == {
        "train": ["a", "c"],
        "test": ["b"],
    }


@pytest.mark.parametrize(
    ("there", "given", "message"),
    [
        (["train.100", "train.360"], {}, "train.100, train.360 may be for train; dat"),
        (
            ["a", "b"],
            {},
            "no split is for training, there are a, b; dataset_options.tra",
        ),
        (["train"], {"test": "tests"}, "unknown split of o/n 'tests': known: train"),
        (["train"], {"train": "train", "test": "train"}, "train is chosen more than"),
    ],
)
def test_splits_that_cannot_be_chosen_are_told(there, given, message):
    with pytest.raises(InputError) as caught:
        choose(*there, **given)
    assert message in str(caught.value)
