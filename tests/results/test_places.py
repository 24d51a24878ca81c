import json

import pytest

from unmute_jax.config import DatasetOptions, Experiment
from unmute_jax.results.places import hide_places, with_places, without_places


def settings(**changes):
    return Experiment(**changes).to_dict()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dataset": "folder:/home/ann/My clips"}, "folder:My clips"),
        ({"dataset": "csv:~/clips/labels.csv"}, "csv:labels.csv"),
        ({"dataset": "hf:/home/ann/birds:small"}, "hf:birds:small"),
        ({"dataset": "wds:/home/ann/s-{00..09}.tar"}, "wds:s-{00..09}.tar"),
        ({"encoder": "tokens:/home/ann/tokens"}, "tokens:tokens"),
        ({"encoder": "hear:a.module:/home/ann/w.pt"}, "hear:a.module:w.pt"),
        ({"encoder": "xares:module:Class:~/w:1.pt"}, "xares:module:Class:w:1.pt"),
        ({"weights": "/home/ann/w/mine.pt"}, "mine.pt"),
        ({"weights": "../../ann/mine.pt"}, "mine.pt"),
        # The name of published weights is how a report recognises them.
        (
            {"weights": "/home/ann/SSLAM_pretrain/model.safetensors"},
            "SSLAM_pretrain/model.safetensors",
        ),
        ({"data_dir": "/home/ann/esc50"}, ""),
    ],
)
def test_a_path_becomes_the_name_of_the_file(changes, name):
    ((key, _),) = changes.items()
    public = without_places(settings(**changes))
    assert public == settings() | {key: name}
    assert without_places(public) == public


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "folder:data/clips"},
        {"dataset": "hf:OWNER/NAME:config"},
        {"encoder": "my_module:MyEncoder"},
        {"encoder": "hear:a.module"},
        {"encoder": "xares:module:Class"},
        {"data_dir": "data"},
        {"data_dir": "hf:OWNER/NAME"},
        {"weights": "untrained"},
        {"dataset_options": DatasetOptions(group_pattern="/(site[0-9])/")},
    ],
)
def test_what_tells_nothing_of_a_machine_stays(changes):
    assert without_places(settings(**changes)) == settings(**changes)


def test_the_folder_of_a_run_knows_the_places(tmp_path):
    options = DatasetOptions(species_list="/home/ann/species.csv")
    local = settings(
        dataset="annotations:/home/ann/clips", dataset_options=options, epochs=3
    )
    public = without_places(local)
    assert public["dataset_options"]["species_list"] == "species.csv"
    probe = tmp_path / "run" / "probes" / "linear.safetensors"
    assert with_places(public, probe) == public
    probe.parent.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps(local))
    assert with_places(public, probe) == local
    # A file of another run, or of an older version, has places of its own.
    other = public | {"dataset": "folder:others"}
    assert with_places(other, probe)["dataset"] == "folder:others"
    assert with_places(local, probe) == local


def test_a_damaged_configuration_is_named_where_places_are_wanted(tmp_path, caplog):
    (tmp_path / "config.json").write_text("{")
    probe = tmp_path / "probes" / "linear.safetensors"
    probe.parent.mkdir()
    assert with_places(settings(), probe) == settings()
    assert "config.json: not the config of a run" in caplog.text


def test_messages_lose_the_folders_in_them(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    mine = settings(dataset="folder:/srv/data of ann/clips", weights="~/w/a.pt")
    text = "/srv/data of ann/clips: is damaged; /home/ann/w/a.pt; /home/ann/x/y"
    assert hide_places(text, mine) == "clips: is damaged; a.pt; ~/x/y"
