import dataclasses
import json

import pytest

from tests.held import held_elsewhere
from tests.training.fakes import settings
from unmute_jax.config import Sweep
from unmute_jax.errors import InputError
from unmute_jax.training.step import Trial
from unmute_jax.training.workdir import Workdir, alone_in

NAN = float("nan")
STACK = tuple(Trial(learning_rate=r, weight_decay=0.0, seed=0) for r in (0.1, 0.2))


def test_a_folder_takes_one_configuration_wherever_it_runs(tmp_path):
    Workdir(tmp_path, settings())
    with pytest.raises(InputError, match=r"config\.epochs: there 4, here 5"):
        Workdir(tmp_path, settings(epochs=5))
    Workdir(tmp_path, settings(devices=1))


def test_a_run_of_an_older_version_goes_on_with_what_it_did(tmp_path):
    paper = settings(search="sweep", sweep=Sweep(ranges="paper"))
    Workdir(tmp_path, paper)
    # Older versions had none of these settings.
    path = tmp_path / "config.json"
    written = json.loads(path.read_text())
    del written["steps"]
    for name in ("ranges", "neighbours", "temperatures"):
        del written["sweep"][name]
    path.write_text(json.dumps(written))
    Workdir(tmp_path, paper)
    with pytest.raises(
        InputError, match=r"config\.sweep\.ranges: there 'paper', here 'common'"
    ):
        Workdir(tmp_path, settings(search="sweep"))
    with pytest.raises(InputError, match=r"config\.steps: there 0, here 500"):
        Workdir(tmp_path, dataclasses.replace(paper, steps=500))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not the config of a run"),
        ("[]", "not the config of a run .it is a list, not an object"),
        ("null", "not the config of a run .it is null"),
        ('{"sweep": 3}', "config.sweep is 3, must be an object"),
        ('{"epochs": "4"}', 'config.epochs is "4", must be an integer'),
    ],
)
def test_a_damaged_configuration_is_named(content, reason, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=rf"config\.json: {reason}.*another --workdir"):
        Workdir(tmp_path, settings())


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_damaged_sources_are_named(content, tmp_path):
    workdir = Workdir(tmp_path, settings())
    (tmp_path / "sources.json").write_text(content)
    with pytest.raises(InputError, match=r"sources\.json: not the sources of a run"):
        workdir.pin("sources", {"encoder": {}})


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        ("garbage", "not an evaluation"),
        ("{}", "has no field probe"),
        ("[]", "it is a list"),
        ('{"probe": 3}', "probe is 3, must be a text"),
    ],
)
def test_damaged_lines_of_the_metrics_are_named_and_left_out(
    damaged, reason, tmp_path, caplog
):
    workdir = Workdir(tmp_path, settings())
    for stage in ("search", "refit"):
        workdir.log("linear", "fold 1", stage, STACK[:1], [{"epoch": 1, "loss": [0.3]}])
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_text().splitlines()
    if damaged.startswith('{"'):
        damaged = json.dumps(json.loads(second) | json.loads(damaged))
    path.write_text(f"{first}\n{damaged}\n{second}\n")
    assert Workdir(tmp_path, settings()).metrics == workdir.metrics
    (message,) = caplog.messages
    assert message.startswith(f"{path}, line 2: ")
    assert reason in message


@pytest.mark.parametrize("name", ["gs://bucket/run", "file"])
def test_a_run_needs_a_folder(name, tmp_path):
    (tmp_path / "file").touch()
    path = name if "://" in name else tmp_path / name
    with pytest.raises(InputError, match=r"mount the bucket|must be a folder"):
        Workdir(path, settings())


def test_a_history_is_written_in_place_of_the_one_before(tmp_path):
    workdir = Workdir(tmp_path, settings())
    history = [{"epoch": 1, "loss": [0.5, 0.6], "validation": [0.1, NAN]}]
    workdir.log("linear", "fold 1", "search", STACK, history)
    longer = [*history, {"epoch": 2, "loss": [0.4, NAN], "validation": [0.2, NAN]}]
    workdir.log("linear", "fold 1", "search", STACK, longer)
    workdir.log("linear", "fold 1", "refit", STACK[:1], [{"epoch": 1, "loss": [0.3]}])
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(x["stage"], x["epoch"], x["learning_rate"]) for x in lines] == [
        ("search", 1, 0.1),
        ("search", 1, 0.2),
        ("search", 2, 0.1),
        ("search", 2, 0.2),
        ("refit", 1, 0.1),
    ]
    assert [x.get("validation") for x in lines] == [0.1, None, 0.2, None, None]
    # A run that goes on has them all.
    assert Workdir(tmp_path, settings()).metrics == lines


def test_names_of_checkpoint_folders_are_plain(tmp_path):
    folder = Workdir(tmp_path, settings()).checkpoints("linear", "fold 1/a", "repeat 1")
    assert folder == tmp_path / "checkpoints" / "linear" / "fold-1-a" / "repeat-1"


def test_only_one_program_trains_in_a_folder(tmp_path):
    with held_elsewhere(tmp_path / ".lock") as other:
        line = rf"another process is training in {tmp_path} \(since .*{other.pid} on "
        with pytest.raises(InputError, match=line), alone_in(tmp_path):
            pass
        other.kill()
        other.wait()
        with alone_in(tmp_path):
            Workdir(tmp_path, settings())
    with alone_in(tmp_path):
        pass


def test_a_folder_that_may_not_be_written_to_needs_no_lock(tmp_path, monkeypatch):
    Workdir(tmp_path, settings())
    before = set(tmp_path.iterdir())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with alone_in(tmp_path):
        Workdir(tmp_path, settings())
    assert set(tmp_path.iterdir()) == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    line = f"{tmp_path / 'file'}: is a file, not a folder"
    with pytest.raises(InputError, match=line), alone_in(tmp_path / "file" / "run"):
        pass
    with pytest.raises(InputError, match="mount the bucket"), alone_in("gs://a/b"):
        pass


def test_differences_are_one_short_line(tmp_path):
    Workdir(tmp_path, settings())
    path = tmp_path / "config.json"
    there = json.loads(path.read_text())
    there |= {"x" * 10_000: 1, "\u202e\n": 2, "encoder": "a" * 10_000, "seed": 7}
    path.write_text(json.dumps(there))
    with pytest.raises(InputError, match=r"config\.seed: .*; and 1 more") as refused:
        Workdir(tmp_path, settings())
    message = str(refused.value)
    assert message.isprintable()
    assert len(message) < len(str(tmp_path)) + 400
