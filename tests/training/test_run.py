import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from tests.store.fakes import fake_encoder
from tests.training.fakes import settings, setup, tones
from unmute_jax import metrics, results
from unmute_jax.errors import InputError
from unmute_jax.results import plots, predictions
from unmute_jax.store.embed import embed
from unmute_jax.store.key import store_key
from unmute_jax.training import plan
from unmute_jax.training import setup as setup_module
from unmute_jax.training.run import loop, run_experiment, selection
from unmute_jax.training.setup import changed_options, check_probes, make_probes
from unmute_jax.training.workdir import Workdir

NAN = float("nan")


def run(folder, made=None, **changes):
    made = made or setup(settings(**changes))
    workdir = Workdir(folder, made.settings)
    return run_experiment(made, workdir, log=lambda line: None), workdir


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"))


def test_every_probe_and_seed_leaves_a_record(finished):
    records, workdir = finished
    assert [(r.probe, r.seed) for r in records] == [
        ("linear", 0),
        ("linear", 1),
        ("protobin", 0),
        ("protobin", 1),
    ]
    assert results.read_records(workdir.results) == sorted(
        records, key=lambda r: (r.probe, r.seed)
    )
    first = records[0]
    assert first.metric == "mAP"
    assert set(first.per_class) == {"ash", "birch", "cedar"}
    assert first.test == pytest.approx(np.mean(list(first.per_class.values())))
    assert [x["learning_rate"] for x in first.search] == [0.01, 0.1]
    best = max(first.search, key=lambda x: x["validation"])
    assert first.learning_rate == best["learning_rate"]
    assert first.validation == best["validation"]


def test_the_logits_beside_a_record_give_its_score_again(finished):
    records, workdir = finished
    for record in records:
        path = predictions.path_of(workdir.predictions, record.file_name())
        kept = predictions.read_predictions(path)
        assert metrics.mean_average_precision(
            kept.logits, kept.labels
        ).mean == pytest.approx(record.test, abs=1e-12)
        # Nothing is known of where the tones come from: each stands for itself.
        assert kept.groups == kept.ids
        assert len(set(kept.ids)) == 22


def test_a_second_run_reads_the_records_and_trains_nothing(finished, monkeypatch):
    records, workdir = finished
    monkeypatch.setattr(loop, "train", None)
    again, _ = run(workdir.path)
    assert again == records


def test_the_lines_of_the_metrics_are_whole(finished):
    _, workdir = finished
    text = (workdir.path / "metrics.jsonl").read_text()
    lines = [json.loads(x) for x in text.splitlines()]
    # Per probe: two rates searched, one seed repeated, four epochs each.
    assert len(lines) == 2 * (2 + 1) * 4
    keys = {
        (x["probe"], x["stage"], x["seed"], x["learning_rate"], x["epoch"])
        for x in lines
    }
    assert len(keys) == len(lines)


def test_another_configuration_does_not_enter_the_folder(finished):
    _, workdir = finished
    with pytest.raises(InputError, match=r"config\.epochs: there 4, here 5"):
        Workdir(workdir.path, settings(epochs=5))
    Workdir(workdir.path, settings(devices=1))


def test_a_run_does_not_go_on_with_other_data(finished, monkeypatch):
    _, workdir = finished
    made = setup()
    object.__setattr__(made.dataset, "splits", {**made.dataset.splits, "test": 20})
    with pytest.raises(InputError, match=r"another sources .*fingerprints\.test"):
        run(workdir.path, made)


def test_pictures_and_table_can_be_made(finished, tmp_path):
    records, workdir = finished
    names = ("linear", "protobin")
    plots.training_curves(tmp_path / "a.png", workdir.metrics, records, names)
    plots.per_class_bars(tmp_path / "b.png", records, names)
    for picture in ("a.png", "b.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    rows = results.rows(records, names)
    assert [r.probe for r in rows] == list(names)
    tests = [r.test for r in records if r.probe == "linear"]
    assert rows[0].test == pytest.approx(np.mean(tests))
    assert rows[0].test_sd == pytest.approx(np.std(tests, ddof=1))


def test_brackets_in_a_note_are_not_taken_for_colours(finished):
    note = "it needs another: pip install 'one[extra]'"
    noted = dataclasses.replace(finished[0][0], notes=(note,), source="a [b]")
    console = Console(width=200)
    with console.capture() as captured:
        console.print(results.table([noted], ("linear",)))
    assert note in captured.get()
    assert "(a [b])" in captured.get()


def test_seeds_that_were_lost_are_told_below_the_table(finished):
    records, _ = finished
    names = ("linear", "protobin")
    assert "unstable" not in results.table(records, names).caption

    def validating(scores):
        return [
            dataclasses.replace(records[0], protocol=p, seed=k, validation=v)
            for p, found in scores.items()
            for k, v in enumerate(found)
        ]

    # There are 21 validation clips: a third of them may be chance.
    (row,) = results.rows(validating({"a": [0.1, 0.8, 0.5, NAN]}), names)
    (told,) = [note for note in row.notes if "unstable" in note]
    assert "linear: unstable at learning rate" in told
    assert "validates at 80.0, but seed 0 10.0, seed 3 nan;" in told
    found = validating({"a": [0.8, 0.65], "b": [0.7, 0.2], "c": [0.3, 0.0]})
    (row,) = results.rows(found, names)
    (told,) = [note for note in row.notes if "unstable" in note]
    assert "on b: the best seed validates at 70.0, but seed 1 20.0;" in told


def test_the_held_out_split_is_read_after_everything_was_chosen(tmp_path, monkeypatch):
    made = setup(settings(probes="linear"))
    order = []
    for name in ("choose", "score_held_out"):
        function = getattr(selection, name)

        def noting(*args, name=name, function=function):
            order.append(name)
            return function(*args)

        monkeypatch.setattr(selection, name, noting)
    held_out = setup_module.ProtocolData.held_out

    def reading(self, input_kind):
        order.append("read")
        return held_out(self, input_kind)

    monkeypatch.setattr(setup_module.ProtocolData, "held_out", reading)
    run(tmp_path, made)
    assert order == ["choose", "read", "score_held_out", "score_held_out"]


def test_a_refit_trains_on_both_splits_with_the_chosen_rate(tmp_path, monkeypatch):
    sizes = []
    train = loop.train

    def noting(task, probe, stack, *rest):
        seen = None if task.validation is None else len(task.validation)
        sizes.append((len(task.train), seen, len(stack)))
        return train(task, probe, stack, *rest)

    monkeypatch.setattr(loop, "train", noting)
    records, _ = run(tmp_path, probes="linear", refit=True)
    assert sizes == [(50, 21, 2), (50, 21, 1), (71, None, 2)]
    assert records[0].settings["refit"] is True


def test_single_label_tasks_report_accuracy(tmp_path):
    made = setup(settings(probes="stats", epochs=20), task="single-label")
    records, _ = run(tmp_path, made)
    assert {r.metric for r in records} == {"accuracy"}
    assert all(round(r.test * 22, 6) == int(round(r.test * 22, 6)) for r in records)


def test_folds_are_averaged_before_the_spread_over_seeds_is_taken():
    def record(fold, seed, test):
        return results.Record(
            experiment="e", dataset="d", source="s", encoder="x", probe="linear",
            probe_options={},
            protocol=f"fold {fold}", seed=seed, metric="mAP", parameters=1,
            learning_rate=0.1, weight_decay=0.0, epoch=1, validation=test, test=test,
            per_class={}, masked_classes=0, search=(), seconds=2.0, settings={},
            facts={},
        )  # fmt: skip

    made = [record(1, 0, 0.2), record(2, 0, 0.8), record(1, 1, 0.4), record(2, 1, 0.8)]
    (row,) = results.rows(made, ["linear"])
    assert row.test == pytest.approx(0.55)
    assert row.test_sd == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert row.seconds == 4.0


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json: not a result record"):
        results.read_records(tmp_path)


def test_the_plan_tells_sizes_and_reuse_and_writes_nothing(finished, tmp_path):
    _, workdir = finished
    made = setup()
    text = plan.describe(made, tmp_path / "new")
    assert "train: 50 clips" in text
    assert "will be reused" in text
    assert "is finished" not in text
    assert not (tmp_path / "new").exists()
    assert "linear on official split is finished" in plan.describe(made, workdir.path)


def test_a_wrong_probe_is_found_before_anything_is_loaded():
    with pytest.raises(InputError, match="protobin"):
        check_probes(settings(probes="protobim"))
    with pytest.raises(InputError, match=r"config\.probes is empty"):
        check_probes(settings(probes=" , "))


def test_an_option_goes_to_the_probes_that_know_it():
    options = dataclasses.replace(settings().probe_options, prototypes_per_class=3)
    made = make_probes(settings(probe_options=options), 7)
    assert made["protobin"].prototypes_per_class == 3
    assert made["linear"].num_classes == 7
    changed = settings(probe_options=options)
    assert changed_options(changed, "protobin") == {"prototypes_per_class": 3}
    usual = dataclasses.replace(options, prototypes_per_class=20)
    assert changed_options(settings(probe_options=usual), "protobin") == {}


def test_probes_of_all_layers_are_trained_on_stores_that_have_them(tmp_path):
    names = "cgp,linear_cgp,head2toe,protobin"
    made = setup(settings(probes=names, epochs=2, seeds=1))
    told = []
    workdir = Workdir(tmp_path, made.settings)
    records = run_experiment(made, workdir, log=told.append)
    assert [r.probe for r in records] == names.split(",")
    assert all(np.isfinite(r.test) for r in records)
    # Layers are made once, and are no reason to make the plain tokens again.
    (train, *_) = (line for line in told if "fake/tones train" in line)
    assert "to write" in train
    assert run_experiment(made, workdir, log=told.append) == records
    assert "will be reused" in plan.describe(made, tmp_path / "other")


def test_layers_are_kept_as_the_encoder_gave_them():
    plain_key, key = (
        store_key(fake_encoder(), tones(), "test", layers=layers)
        for layers in (False, True)
    )
    assert "layers" not in plain_key
    assert key == {**plain_key, "layers": 2}
    kept = embed(fake_encoder(), tones(), "test", layers=True, log=lambda _: None)
    waveforms = np.stack([clip.waveform for clip in tones().source_of("test")])
    want = fake_encoder()(waveforms, all_layers=True)
    got = kept.read([5, 0], layers=True)
    np.testing.assert_allclose(
        got.layers.astype(np.float32), want.layers[np.array([5, 0])], rtol=2**-8
    )
    np.testing.assert_allclose(got.layer_cls, want.layer_cls[np.array([5, 0])], 1e-5)
    assert kept.read([0]).layers is None
    assert kept.nbytes(layers=True) > 2.5 * kept.nbytes()


def test_layers_are_not_standardised_and_not_made_up():
    with pytest.raises(InputError, match=r"'cgp' .*leave out config\.standardise"):
        check_probes(settings(probes="cgp", standardise=True))
    encoder = fake_encoder()
    object.__setattr__(encoder, "_num_layers", 0)
    with pytest.raises(InputError, match="gives the tokens of its last layer only"):
        embed(encoder, tones(), "test", layers=True)


def test_a_bucket_is_no_folder_of_a_run():
    with pytest.raises(InputError, match="mount the bucket"):
        Workdir("gs://bucket/run", settings())
