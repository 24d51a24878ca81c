"""The public functions of `unmute_jax.datasets`."""

import os
import subprocess
import sys

import pytest

from unmute_jax.datasets import dataset_infos, list_datasets, load_dataset
from unmute_jax.errors import InputError


def test_names_are_sorted_and_described():
    names = list_datasets()
    assert names == sorted(names)
    assert {"esc10", "esc50", "esc50/esc10", "esc_mix", "sc2", "urban"} < set(names)
    described = {info.name for info in dataset_infos()}
    assert described == set(names) - {"esc50/esc10"}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("esc5", {}, "did you mean 'esc50'"),
        ("ESC50", {}, "did you mean 'esc50'?"),
        ("folders:here", {}, "folder:PATH"),
        ("esc50", {"on_bad": "ignore"}, "known: fail, skip"),
        ("esc50", {"seed": 1}, "'esc50' has no options, 'seed' was given"),
        ("folder:here", {"seed": 1}, "'seed': known: folds, group_pattern"),
        ("hf:a/b", {"label": "x"}, "did you mean 'label_column'"),
        ("esc_mix", {"train_clip": 1}, "did you mean 'train_clips'"),
        ("esc_mix", {"test_clips": "400"}, "'400', not of type int"),
    ],
)
def test_mistyped_names_and_options_are_named(name, options, expected):
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_without_its_kind_is_answered_with_the_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds").mkdir()
    (tmp_path / "labels.csv").write_text("file,labels\n")
    for name, expected in (
        ("birds", "'birds': it is a folder; folder:birds reads it"),
        (f"{tmp_path}/birds", f"folder:{tmp_path}/birds reads it"),
        ("labels.csv", "'labels.csv': it is a file; csv:labels.csv reads"),
    ):
        with pytest.raises(InputError) as caught:
            load_dataset(name)
        assert expected in str(caught.value)


def test_tensorflow_is_never_imported(miniature, own_cache):
    script = (
        "import sys, unmute_jax.datasets as d\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        f"clips = d.load_dataset('esc50', data_dir={str(miniature.root)!r})\n"
        "print(clips.source_of('fold1')[0].id)\n"
        "assert 'tensorflow' not in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(own_cache)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1-1000-A-0\n", "")
    # Nothing is written but what was asked for.
    written = {path.name for path in own_cache.iterdir()}
    assert written == {"datasets", "locks"}
