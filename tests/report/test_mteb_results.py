import json

import mteb
import pytest
from mteb.cache import LoadExperimentEnum, ResultCache
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult

from tests.report.made_up import record, write
from unmute_jax.report.mteb_results import TASKS, export_results

FOLDS = [f"fold {k}" for k in range(1, 6)]


def of_esc50(**changes):
    """Records of the five folds of ESC-50."""
    for k, fold in enumerate(FOLDS):
        facts = record().facts | {
            "clips": {f"fold{n}": 400 for n in range(1, 6)},
            "splits": {"test": [f"fold{k + 1}"]},
        }
        yield record(**{"dataset": "esc50", "protocol": fold, "facts": facts} | changes)


def export(folder, records):
    export_results([write(folder / "run", records)], folder / "out")
    return ResultCache(folder / "out")


def load(cache, **options):
    """What mteb reads of its own tasks."""
    options = {"load_experiments": LoadExperimentEnum.MATCH_NAME} | options
    return list(cache.load_results(include_remote=False, **options))


def task_files(folder):
    return sorted(p for p in folder.rglob("*.json") if p.name != "model_meta.json")


def test_mteb_reads_the_scores_of_a_task_of_maeb(tmp_path):
    records = [
        r
        for seed, score in ((0, 0.6), (1, 0.7))
        for r in of_esc50(seed=seed, test=score, probe="protobin", seconds=2.0)
    ]
    cache = export(tmp_path, records)
    # The split must be the one that the task is scored on.
    (model,) = load(cache, validate_and_filter=True)
    assert model.model_name == "unmute-jax/eat"
    assert model.model_revision == 64 * "0"
    (result,) = model.task_results
    assert result.task_name == "ESC50"
    assert result.get_score() == pytest.approx(0.65)
    (scores,) = result.scores["train"]
    assert scores["accuracy"] == pytest.approx(0.65)
    assert scores["sd_over_seeds"] == pytest.approx(0.0707, abs=1e-4)
    each = scores["scores_per_experiment"]
    assert [(s["seed"], s["protocol"]) for s in each] == [
        (seed, fold) for seed in (0, 1) for fold in FOLDS
    ]
    assert [s["accuracy"] for s in each] == 5 * [0.6] + 5 * [0.7]
    # The seeds of a fold are trained together.
    assert result.evaluation_time == 10
    assert result.dataset_revision == "unmute-jax: official esc50"


def test_results_are_experiments_and_do_not_mix_with_those_of_maeb(tmp_path):
    runs = [*of_esc50(), *of_esc50(probe="ep", probe_options={"num_queries": 4})]
    cache = export(tmp_path, runs)
    assert load(cache, load_experiments=LoadExperimentEnum.NO_EXPERIMENTS) == []
    assert load(cache, load_experiments=LoadExperimentEnum.MATCH_KWARGS) == []
    settings = [
        {
            "encoder": "eat-base, pre-trained, model.safetensors",
            "probe": probe,
            "protocol": "unmute-jax probe",
        }
        for probe in ("linear", "ep num_queries=4")
    ]
    for chosen in settings:
        (found,) = load(
            cache,
            load_experiments=LoadExperimentEnum.MATCH_KWARGS,
            experiment_kwargs=chosen,
        )
        assert len(found.task_results) == 1


def test_folders_are_those_in_which_mteb_looks(tmp_path):
    long = "a" * 150 + ": it's / and more, model.safetensors"
    export(tmp_path, [record(encoder="logmel"), record(probe="ep", seed=3)])
    export(tmp_path, [record(weights="untrained"), record(encoder=long)])
    metas = sorted((tmp_path / "out").rglob("model_meta.json"))
    assert len(metas) == 4
    cache = ResultCache(tmp_path / "out")
    for path in metas:
        meta = ModelMeta.model_validate_json_resolved(path.read_text())
        assert cache.get_task_result_path("x", meta).parent == path.parent
        assert meta.modalities == ["audio"]
    names = {p.relative_to(tmp_path / "out" / "results").parts[1] for p in metas}
    assert names == {64 * "0", "untrained-seed-0"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dataset": "esc10"}, "unmute-jax-esc10"),
        ({"dataset": "hsn/64shot"}, "unmute-jax-hsn-64shot"),
        # Other clips or another main score than those of the task FSD50K.
        ({"dataset": "fsd50k"}, "unmute-jax-fsd50k"),
        ({"dataset": "ESC50"}, "unmute-jax-esc50"),
    ],
)
def test_other_tasks_have_names_that_maeb_does_not_have(tmp_path, changes, name):
    export(tmp_path, [record(**changes)])
    (path,) = task_files(tmp_path / "out")
    result = TaskResult.from_disk(path, load_historic_data=False)
    assert (path.stem, result.task_name) == (name, name)
    assert result.get_score() == 0.5
    with pytest.raises(KeyError):
        mteb.get_task(name)


def test_a_part_of_the_folds_or_clips_is_another_task(tmp_path):
    export(tmp_path, list(of_esc50())[:4])
    (path,) = task_files(tmp_path / "out")
    assert path.stem == "unmute-jax-esc50"


def test_scores_of_time_steps_have_names_of_their_own(tmp_path):
    made = record(
        metric="frame mAP", test=0.25, more={"event F1": 0.5, "clip mAP": 0.75}
    )
    export(tmp_path, [made])
    (path,) = task_files(tmp_path / "out")
    (scores,) = TaskResult.from_disk(path).scores["test"]
    named = {k: scores[k] for k in ("main_score", "frame_map", "event_f1", "clip_map")}
    assert list(named.values()) == [0.25, 0.25, 0.5, 0.75]
    assert "sd_over_seeds" not in scores


def test_a_diverged_seed_is_not_exported(tmp_path):
    run = write(tmp_path / "run", [record(test=float("nan")), record(probe="ep")])
    text = export_results([run], tmp_path / "out")
    assert text == "results of 1 cell for mteb, without 1 in which a seed diverged"
    (path,) = task_files(tmp_path / "out")
    assert "probe_ep" in path.parent.name
    assert "NaN" not in path.read_text()


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_those_of_maeb(name):
    task, official = TASKS[name], mteb.get_task(TASKS[name].name)
    assert official.metadata.main_score == task.metric
    assert official.eval_splits == [task.split]
    assert official.metadata.eval_langs == [task.language]
    assert official.metadata.descriptive_stats[task.split]["num_samples"] == task.clips


def test_what_is_not_known_is_null(tmp_path):
    export(tmp_path, [record(encoder="logmel")])
    (path,) = (tmp_path / "out").rglob("model_meta.json")
    meta = json.loads(path.read_text())
    assert meta["license"] is None
    assert meta["n_parameters"] is None
