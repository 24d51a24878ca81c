import runpy
import sys

import numpy as np
import pytest
import soundfile as sf

from tests.datasets import layouts
from tests.datasets.hub_folders import push, two_classes
from unmute_jax.cli import datasets as command
from unmute_jax.cli.datasets import main
from unmute_jax.datasets import list_datasets


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))


def test_the_list_names_every_data_set(capsys):
    main(["--list"])
    *table, _, others = capsys.readouterr().out.splitlines()
    listed = {line.split("`")[1] for line in table[2:]}
    assert listed == set(list_datasets()) - {"esc50/esc10"}
    assert len({line.count("|") for line in table}) == 1
    assert others.endswith("hf:OWNER/NAME, hf:PATH, wds:PATTERN.")


def test_a_data_set_is_prepared_and_described(tmp_path, capsys):
    place = layouts.urban(tmp_path)
    main(["urban", "--data_dir", str(place)])
    printed = capsys.readouterr().out
    assert "\n  clips per class: " in printed
    for part in ("10 classes", "train 2", "44,100 Hz", "CC BY 4.0", "onsets"):
        assert part in printed
    with pytest.raises(SystemExit, match="2"):
        main(["fsdd", "--data_dir", str(tmp_path / "nowhere")])
    assert "no such file or folder" in capsys.readouterr().err


def test_options_of_a_data_set_are_given_by_name(tmp_path, capsys):
    push(tmp_path / "birds", {"train": two_classes(6)})
    main([f"hf:{tmp_path}/birds", "--option", "label_column=label"])
    assert "hf:birds: birds, columns audio and label" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([f"hf:{tmp_path}/birds", "--option", "label_column=kind"])
    assert "unknown label_column of" in capsys.readouterr().err


def test_unknown_options_are_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--lst"])
    line = "error: unrecognized arguments: --lst; --help describes the options\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("option", ["on_bad=skip", "data_dir=/x", "name=x"])
def test_arguments_of_the_command_are_no_options_of_a_data_set(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["esc_mix", "--option", option])
    assert "an argument of the command itself" in capsys.readouterr().err


def test_the_module_runs_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["datasets", "--list"])
    runpy.run_module("unmute_jax.datasets", run_name="__main__")
    assert "`esc50`" in capsys.readouterr().out


def test_rates_and_what_is_unusual_are_told(tmp_path, capsys):
    for i in range(10):
        path = tmp_path / "own" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(i)
        x = (i > 0) * rng.standard_normal(4000, np.float32) * (40 if i == 1 else 0.1)
        sf.write(path, x, 48_000 if i % 2 else 8000, subtype="FLOAT")
    main([f"folder:{tmp_path / 'own'}"])
    printed = capsys.readouterr().out
    for part in (
        "up to 0.5 s at 8,000 to 48,000 Hz",
        "sample rates differ: 8,000 Hz (5 clips), 48,000 Hz (5 clips)",
        "1 clip is silent",
        "1 clip is beyond [-1, 1], with samples of up to 1",
        "samples that large look like integers",
    ):
        assert part in printed


def test_clips_of_each_class_are_counted(tmp_path, capsys, monkeypatch):
    for i, name in enumerate("aaabbbbbcccc"):
        path = tmp_path / "own" / name / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.full(100, 0.1 + i / 100), 8000)
    name = f"folder:{tmp_path / 'own'}"
    main([name])
    assert "\n  clips per class: b 5, c 4, a 3\n" in capsys.readouterr().out
    monkeypatch.setattr(command, "MOST_CLASSES", 2)
    main([name])
    assert "\n  clips per class: b 5, c 4 and 1 more\n" in capsys.readouterr().out


def test_options_of_a_data_set_are_passed_on(tmp_path, capsys):
    for i in range(8):
        path = tmp_path / "own" / "ab"[i % 2] / f"site{i // 2}_{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.full(100, 0.1 + i / 100), 8000)
    name = f"folder:{tmp_path / 'own'}"
    pattern = ["--option", "group_pattern=^([^_]+)_"]
    main([name, *pattern, "--option", "folds=groups"])
    printed = capsys.readouterr().out
    assert "fold1 2, fold2 2, fold3 2, fold4 2\n  test fold 1 of 4 (site0), " in printed
    main([name, "--option", "folds=4"])
    assert "test fold 1 of 4, test fold 2 of 4" in capsys.readouterr().out
    main([name, *pattern])
    assert "validation and test made by rule, by group" in capsys.readouterr().out
    for wrong in ("folds", "fold=4"):
        with pytest.raises(SystemExit, match="2"):
            main([name, "--option", wrong])
        assert capsys.readouterr().err.startswith("error: ")
