import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.training.fakes import make_setup, records_in, settings
from unmute_jax import metrics
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe
from unmute_jax.results import predictions
from unmute_jax.training import loop, plan, selection
from unmute_jax.training.data import ProtocolData
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir

# One long clip, for which all others are padded.
DURATIONS = {"train": {0.1: 49, 1.0: 1}}
PADDED = "all clips are padded to 1 s for the sake of the longest"


def run(folder, made=None, **changes):
    made = made or make_setup(settings(**changes), durations=DURATIONS)
    workdir = Workdir(folder, made.settings)
    return run_experiment(made, workdir, log=lambda line: None), workdir


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    # As many seeds are repeated as rates are searched: both share what is compiled.
    return run(tmp_path_factory.mktemp("run"), epochs=2, seeds=3)


def test_every_probe_and_seed_leaves_a_record(finished):
    records, workdir = finished
    wanted = [(name, seed) for name in ("linear", "protobin") for seed in range(3)]
    assert [(r.probe, r.seed) for r in records] == wanted
    assert records_in(workdir.results) == records
    first = records[0]
    assert first.metric == "mAP"
    assert set(first.per_class) == {"ash", "birch", "cedar"}
    assert first.test == pytest.approx(np.mean(list(first.per_class.values())))
    assert [x["learning_rate"] for x in first.search] == [0.01, 0.1]
    best = max(first.search, key=lambda x: x["validation"])
    assert first.learning_rate == best["learning_rate"]
    assert first.validation == best["validation"]


def test_the_records_say_what_is_unusual_about_the_lengths_of_clips(finished):
    records, _ = finished
    assert all(any(note.startswith(PADDED) for note in r.notes) for r in records)


def test_the_logits_beside_a_record_give_its_score_again(finished):
    records, workdir = finished
    for record in records:
        path = predictions.path_of(workdir.predictions, record.file_name())
        stored = predictions.read_predictions(path)
        assert metrics.mean_average_precision(
            stored.logits, stored.labels
        ).mean == pytest.approx(record.test, abs=1e-12)
        # It is not known where the tones come from: each is its own group.
        assert stored.groups == stored.ids
        assert len(set(stored.ids)) == 22


def test_very_many_predictions_are_not_saved_and_a_note_says_so(tmp_path, monkeypatch):
    # 22 clips of three classes.
    monkeypatch.setattr(predictions, "MOST", 65)
    records, workdir = run(tmp_path, epochs=1, seeds=1, probes="linear")
    assert not list(workdir.predictions.glob("*"))
    assert records[0].notes[-1] == (
        "the predictions on the test split (66 numbers, more than 65) are not saved: "
        "intervals in reports do not allow for the choice of its clips"
    )


def test_a_second_run_reads_the_records_and_trains_nothing(finished, monkeypatch):
    records, workdir = finished
    monkeypatch.setattr(loop, "train", None)
    again, _ = run(workdir.path, epochs=2, seeds=3)
    assert again == records


@pytest.mark.parametrize("damaged", ["results/*.json", "predictions/*.npz"])
def test_what_is_damaged_of_a_finished_probe_is_named_and_made_again(
    damaged, finished, tmp_path, caplog
):
    records, workdir = finished
    shutil.copytree(workdir.path, tmp_path / "run")
    path = sorted((tmp_path / "run").glob(damaged))[0]
    undisturbed = path.read_bytes()
    path.write_bytes(undisturbed[: len(undisturbed) // 2])
    again, _ = run(tmp_path / "run", epochs=2, seeds=3)
    for ours, theirs in zip(again, records, strict=True):
        assert dataclasses.replace(ours, seconds=theirs.seconds) == theirs
    assert path.suffix == ".json" or path.read_bytes() == undisturbed
    (message,) = caplog.messages
    assert message.startswith(f"{path}: not a ")
    assert message.endswith("it is made again")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ("results/*.json", "is the record of another training"),
        ("predictions/*.npz", "belongs to the record"),
    ],
)
def test_files_of_another_seed_are_named_and_made_again(
    files, reason, finished, tmp_path, caplog
):
    records, workdir = finished
    shutil.copytree(workdir.path, tmp_path / "run")
    first, second, *_ = sorted((tmp_path / "run").glob(files))
    undisturbed = first.read_bytes()
    first.write_bytes(second.read_bytes())
    again, _ = run(tmp_path / "run", epochs=2, seeds=3)
    assert [r.test for r in again] == [r.test for r in records]
    assert first.suffix == ".json" or first.read_bytes() == undisturbed
    (message,) = caplog.messages
    assert message.startswith(str(first))
    assert reason in message


def test_every_evaluation_is_a_line_of_the_metrics(finished):
    _, workdir = finished
    text = (workdir.path / "metrics.jsonl").read_text()
    lines = [json.loads(x) for x in text.splitlines()]
    # Per probe: two rates searched, two seeds repeated, two epochs each.
    assert len(lines) == 2 * (2 + 2) * 2
    keys = {
        (x["probe"], x["stage"], x["seed"], x["learning_rate"], x["epoch"])
        for x in lines
    }
    assert len(keys) == len(lines)


def test_a_run_does_not_go_on_with_other_data(finished):
    _, workdir = finished
    made = make_setup(settings(epochs=2, seeds=3))
    object.__setattr__(made.dataset, "splits", {**made.dataset.splits, "test": 20})
    with pytest.raises(InputError, match=r"another sources .*fingerprints\.test"):
        run(workdir.path, made)


def test_the_plan_names_what_is_finished_and_writes_nothing(finished, tmp_path):
    _, workdir = finished
    chosen = settings(probes="linear", epochs=2, seeds=3)
    made = make_setup(chosen, durations=DURATIONS)
    text = plan.describe(made, tmp_path / "new")
    assert PADDED in text
    assert "train: 50 clips" in text
    assert "will be reused" in text
    assert "is finished" not in text
    assert not (tmp_path / "new").exists()
    # The record of a probe names the settings of the whole run.
    made = dataclasses.replace(
        made, settings=dataclasses.replace(made.settings, probes="linear,protobin")
    )
    assert "linear on official split is finished" in plan.describe(made, workdir.path)


def test_the_test_split_is_read_after_everything_was_chosen(tmp_path, monkeypatch):
    made = make_setup(settings(probes="linear", epochs=2))
    order = []
    for name in ("choose", "score_held_out"):
        function = getattr(selection, name)

        def noting(*args, name=name, function=function):
            order.append(name)
            return function(*args)

        monkeypatch.setattr(selection, name, noting)
    held_out = ProtocolData.held_out

    def reading(self, input_kind):
        order.append("read")
        return held_out(self, input_kind)

    monkeypatch.setattr(ProtocolData, "held_out", reading)
    run(tmp_path, made)
    assert order == ["choose", "read", "score_held_out", "score_held_out"]


def test_single_label_tasks_report_accuracy(tmp_path):
    made = make_setup(settings(probes="linear", epochs=2), task="single-label")
    records, _ = run(tmp_path, made)
    assert {r.metric for r in records} == {"accuracy"}
    assert all(round(r.test * 22, 6) == int(round(r.test * 22, 6)) for r in records)


def test_trainings_that_never_start_are_named(tmp_path, monkeypatch):
    def all_the_same(logits, task):
        return np.arange(logits.shape[1]) < 1

    monkeypatch.setattr(loop, "same_for_all", all_the_same)
    made = make_setup(settings(probes="linear", epochs=1, seeds=3))
    records, _ = run(tmp_path, made)
    # The first of two rates, and the first of the two seeds that are repeated.
    assert [t.get("never_started", False) for t in records[0].search] == [True, False]
    best = records[0].search[0]["learning_rate"] == records[0].learning_rate
    assert [r.never_started for r in records] == [best, True, False]
    stuck = f"linear: {1 + best} of 3 seeds and 1 of 2 trials of the search never left"
    assert any(note.startswith(stuck) for note in records[0].notes)
    assert any("only 4 optimiser steps" in note for note in records[0].notes)
    assert records[0].steps == 4


def test_a_second_hand_reading_is_named(tmp_path):
    made = make_setup(settings(probes="simpool", epochs=1))
    probe = make_probe("simpool", num_classes=3, reading="unprojected")
    records, _ = run(tmp_path, dataclasses.replace(made, probes={"simpool": probe}))
    for record in records:
        said = [n for n in record.notes if n.startswith("simpool: reading=unprojected")]
        assert "second-hand" in said[0]


def test_the_test_split_is_counted(finished):
    records, _ = finished
    for record in records:
        assert set(record.positives) == set(record.chance) == set(record.per_class)
        for name, count in record.positives.items():
            assert record.chance[name] == pytest.approx(count / 22)
    assert records[0].ranges == {"learning_rate": (0.01, 0.1)}


def test_probes_of_all_layers_are_trained_on_stores_that_have_them(tmp_path):
    chosen = settings(probes="cgp,protobin", epochs=1, seeds=1)
    # Of another name, because other tests make stores of the tones as well.
    made = make_setup(chosen, name="fake/layered", durations=DURATIONS)
    lines = []
    workdir = Workdir(tmp_path, made.settings)
    records = run_experiment(made, workdir, log=lines.append)
    assert [r.probe for r in records] == ["cgp", "protobin"]
    assert all(np.isfinite(r.test) for r in records)
    # Layers are made once, and are no reason to make the plain tokens again.
    (train, *_) = (line for line in lines if "fake/layered train" in line)
    assert "to write" in train
    assert any(line.startswith(f"note: {PADDED}") for line in lines)
    assert run_experiment(made, workdir, log=lines.append) == records
    assert "will be reused" in plan.describe(made, tmp_path / "other")
