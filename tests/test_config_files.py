"""Config files are found by path and by name."""

import pytest

from unmute_jax.config import Experiment, default_config
from unmute_jax.config_files import find_config, load_experiment, shipped_configs
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


def test_an_experiment_is_read_by_name_from_a_file_or_from_its_values(tmp_path):
    shipped = load_experiment("quickstart")
    assert shipped.dataset == "esc_mix"
    (tmp_path / "mine.py").write_text(
        "from unmute_jax.config import default_config\n"
        "def get_config(probes='linear'):\n"
        "    config = default_config()\n"
        "    config.probes = probes\n"
        "    return config\n"
    )
    assert load_experiment(tmp_path / "mine.py") == Experiment(probes="linear")
    assert load_experiment(f"{tmp_path}/mine.py:stats") == Experiment(probes="stats")
    assert load_experiment({"seeds": 2}) == Experiment(seeds=2)
    assert load_experiment(default_config()) == Experiment()
    assert load_experiment(shipped) is shipped


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("quickstat", "did you mean 'quickstart'"),
        ({"epoch": 3}, r"did you mean 'config\.epochs'"),
        ({"epochs": 0}, r"config\.epochs=0: must be"),
    ],
)
def test_what_is_no_experiment_is_refused_in_one_line(config, message):
    with pytest.raises(InputError, match=message):
        load_experiment(config)
