import runpy
import sys

import pytest

from tests.datasets import layouts
from unmute_jax.cli.datasets import main
from unmute_jax.datasets import list_datasets


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))


def test_the_list_names_every_data_set(capsys):
    main(["--list"])
    table = capsys.readouterr().out.splitlines()
    listed = {line.split("`")[1] for line in table[2:]}
    assert listed == set(list_datasets()) - {"esc50/esc10"}
    assert len({line.count("|") for line in table}) == 1


def test_a_data_set_is_prepared_and_described(tmp_path, capsys):
    place = layouts.urban(tmp_path)
    main(["urban", "--data_dir", str(place)])
    printed = capsys.readouterr().out
    for part in ("10 classes", "train 2", "44,100 Hz", "CC BY 4.0", "onsets"):
        assert part in printed
    with pytest.raises(SystemExit, match="2"):
        main(["fsdd", "--data_dir", str(tmp_path / "nowhere")])
    assert "no such file or folder" in capsys.readouterr().err


def test_the_module_runs_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["datasets", "--list"])
    runpy.run_module("unmute_jax.datasets", run_name="__main__")
    assert "`esc50`" in capsys.readouterr().out
