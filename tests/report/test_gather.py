import dataclasses
import json
import os

import numpy as np
import pytest

from tests.report.made_up import grid_of, grid_records, record, write
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.report import classes
from unmute_jax.report.gather import find_records, make_grid


def write_and_read(tmp_path, *records):
    write(tmp_path, records)
    return make_grid(find_records([tmp_path]))


def refusal(*folders):
    with pytest.raises(InputError) as caught:
        make_grid(find_records(folders))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_records_are_found_at_any_depth_and_count_once(tmp_path):
    write(tmp_path / "grid" / "cells" / "a", [record(seed=0, test=0.4)])
    write(tmp_path / "grid" / "cells" / "b", [record(seed=1, test=0.6)])
    write(tmp_path / "again", [record(seed=1, test=0.6)])
    found = find_records([tmp_path / "grid", tmp_path / "again", tmp_path / "grid"])
    (cell,) = make_grid(found).cells
    assert cell.seeds == (0, 1)
    assert cell.mean == pytest.approx(50)
    assert cell.sd == pytest.approx(np.std([40, 60], ddof=1))


def test_folds_are_averaged_before_seeds_and_incomplete_seeds_are_left_out(tmp_path):
    scores = {(0, 1): 0.2, (0, 2): 0.6, (1, 1): 0.4, (1, 2): 0.6, (2, 1): 0.9}
    (cell,) = write_and_read(
        tmp_path,
        *(record(seed=s, protocol=f"fold {f}", test=t) for (s, f), t in scores.items()),
    ).cells
    np.testing.assert_allclose(cell.scores, [40, 50])
    assert cell.folds == ("fold 1", "fold 2")


def test_the_papers_orders(tmp_path):
    datasets = ("urban", "as20k", "my own")
    write(
        tmp_path,
        grid_records(datasets, probes=("stats", "linear", "protobin"), seeds=1),
    )
    grid = make_grid(find_records([tmp_path]))
    assert grid.datasets == ("as20k", "urban", "my own")
    assert grid.encoders == ("A-MAE", "ASiT", "Dasheng", "BEATs", "EAT", "SSLAM")
    assert grid.probes[0] == "linear"
    assert grid.probes[-1] == "stats"
    cell = grid.at("urban", "EAT", "protobin")
    assert cell is not None
    assert grid.linear_baseline(cell) is grid.at("urban", "EAT", "linear")


def test_other_trainings_of_a_probe_are_rows_of_their_own(tmp_path):
    grid = write_and_read(
        tmp_path,
        record(probe="linear"),
        record(probe="mhca"),
        record(probe="mhca", experiment="e1", epochs=3, test=0.3),
        record(probe="linear", experiment="e1", epochs=3, test=0.2),
        record(probe="simpool"),
    )
    assert grid.probes == (
        "linear", "linear [epochs=3]", "mhca", "mhca [epochs=3]", "simpool"
    )  # fmt: skip
    short = grid.at("urban", "EAT", "mhca [epochs=3]")
    assert short is not None
    linear = grid.linear_baseline(short)
    assert linear is not None
    assert linear.mean == pytest.approx(20)


def test_copies_of_a_data_set_and_of_weights_are_distinguished(tmp_path):
    other = dataclasses.replace(
        record(test=0.3), encoder="eat-base, pre-trained, mine.pt", seed=0
    )
    grid = write_and_read(tmp_path / "a", record(), other)
    assert len(grid.encoders) == 2
    assert "EAT (eat-base, pre-trained, mine.pt, 00000000)" in grid.encoders
    grid = write_and_read(
        tmp_path / "b", record(), record(experiment="e1", source="my copy")
    )
    assert grid.datasets == ("urban (my copy)", "urban (official urban)")


def test_errors_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no records" in refusal(tmp_path / "empty")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    bad = tmp_path / "bad" / "results"
    bad.mkdir(parents=True)
    (bad / "a.json").write_text('{"test": 1}')
    message = refusal(tmp_path / "bad")
    assert "a.json: has no field experiment; the command that started" in message
    write(tmp_path / "one", [record(test=0.5)])
    write(tmp_path / "two", [record(test=0.6)])
    message = refusal(tmp_path / "one", tmp_path / "two")
    assert "the same trial, with test scores 0.5000 and 0.6000" in message
    write(tmp_path / "three", [record(metric="accuracy", seed=1)])
    message = refusal(tmp_path / "one", tmp_path / "three")
    assert message.startswith("urban is scored by mAP in ")
    assert "by accuracy in " in message


def test_runs_that_differ_in_what_they_also_did_share_trials(tmp_path):
    def run(name, experiment, probes, seeds):
        made = [
            record(seed=s, experiment=experiment, test=0.4 + s / 100) for s in seeds
        ]
        for r in made:
            r.settings["probes"] = probes
        return write(tmp_path / name, made)

    folders = [
        run("a", "e0", "linear", (0, 1)),
        run("b", "e1", "linear,mhca", (0, 1, 2)),
    ]
    grid = make_grid(find_records(folders))
    (cell,) = grid.cells
    np.testing.assert_allclose(cell.scores, [40, 41, 42])
    assert grid.conflicts == 0
    write(tmp_path / "c", [record(experiment="e2", test=0.39)])
    assert make_grid(find_records([*folders, tmp_path / "c"])).conflicts == 1


def test_a_training_with_many_differences_has_a_short_name(tmp_path):
    other = record(experiment="e1", epochs=90, probe="mhca", test=0.6)
    other.settings["loss"] = {"name": "cross_entropy", "clip": None}
    # Of a newer version, with a setting that the other does not have.
    other.settings["sweep"] = {"sobol": 25}
    grid = write_and_read(tmp_path, record(probe="mhca"), record(probe="linear"), other)
    assert grid.probes == ("linear", "mhca", "mhca [training B]")
    assert grid.trainings == {"training B": "epochs=90, loss.name=cross_entropy"}


def test_ranges_that_an_older_record_does_not_name_are_the_papers():
    def of(experiment, **sweep):
        made = record(experiment=experiment)
        settings = {**made.settings, "search": "sweep", "sweep": sweep}
        return dataclasses.replace(made, settings=settings)

    older, same, other = of("a"), of("b", ranges="paper"), of("c", ranges="common")
    assert len(grid_of([older, same]).cells) == 1
    assert {c.training for c in grid_of([older, same, other]).cells} == {
        "", "sweep.ranges=common"
    }  # fmt: skip


def test_a_run_without_records_is_told_apart_from_one_that_cannot_be_read(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    values = Experiment(probes="linear,protobin").to_dict()
    (run / "config.json").write_text(json.dumps(values))
    message = refusal(tmp_path)
    assert "have not finished a probe yet (linear, protobin)" in message
    (run / "config.json").write_text("[]")
    assert "config.json: not the settings of a run (it is a list" in refusal(tmp_path)
    (run / "config.json").write_text(json.dumps(values | {"probes": 3}))
    assert "config.json: config.probes is 3, must be a text" in refusal(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    write(tmp_path / "run", [record(test=0.5)])

    def scandir(place):
        if str(place).endswith("results"):
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    listed = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert "run/results: cannot be listed: Permission denied" in refusal(tmp_path)


def test_seeds_with_other_folds_are_left_out(tmp_path):
    scores = {(0, 1): 0.2, (0, 2): 0.6, (1, 1): 0.4, (1, 3): 0.6}
    grid = write_and_read(
        tmp_path,
        *(record(seed=s, protocol=f"fold {f}", test=t) for (s, f), t in scores.items()),
    )
    (cell,) = grid.cells
    assert cell.seeds == (0,)
    assert cell.folds == ("fold 1", "fold 2")
    assert "linear" in classes.as_csv(grid)
