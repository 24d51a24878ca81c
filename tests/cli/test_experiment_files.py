"""Config files are found by path and by name."""

import pytest

from unmute_jax.cli.experiment_files import find_config, shipped_configs
from unmute_jax.errors import InputError


def test_a_name_is_the_config_that_ships_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "quickstart" in shipped_configs()
    path, argument = find_config("paper:birds").rsplit(":", 1)
    assert path.endswith("configs/paper.py")
    assert argument == "birds"


def test_a_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("mine")
    assert find_config("quickstart") == "quickstart"


def test_a_mistyped_path_is_answered_with_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/mine.py").touch()
    with pytest.raises(InputError, match=r"did you mean 'configs/mine\.py'"):
        find_config("configs/mien.py")
