import numpy as np
import pytest

from tests.training.fakes import (
    PROTOCOL,
    make_setup,
    settings,
    state_without_params,
    store,
)
from unmute_jax import distributed
from unmute_jax.config import ProbeOptions, Sweep
from unmute_jax.probes import make_probe
from unmute_jax.results import SearchTrial
from unmute_jax.training import final_runs, loop
from unmute_jax.training.data import ProtocolData
from unmute_jax.training.final_runs import ProbeRun, fit_probe, train_probe
from unmute_jax.training.search.samplers import Space
from unmute_jax.training.selection import ValidationScores
from unmute_jax.training.workdir import Workdir

NAN = float("nan")


@pytest.fixture(scope="module")
def stores():
    return {split: store(split) for split in ("train", "validation", "test")}


def probe_run(folder, stores, name="linear", **changes):
    made = make_setup(settings(probes=name, **changes))
    data = ProtocolData(PROTOCOL, {None: stores}, standardise=False)
    workdir = Workdir(folder, made.settings)
    return ProbeRun(made, workdir, name, data, distributed.make_mesh(1))


@pytest.fixture
def given_scores(monkeypatch):
    """Stands for all training: the scores are given, the stacks are noted."""
    scores, stacks = [], []

    def train(task, stack, *rest):
        sizes = len(task.train), task.validation and len(task.validation)
        stacks.append((task.name.split(", ")[-1], *sizes, stack))
        params = {"rate": np.asarray([trial.learning_rate for trial in stack])}
        found = None
        if task.validation is not None:
            found = ValidationScores((1, 2), np.asarray(scores.pop(0)))
        state = state_without_params(len(stack))
        return loop.Trained(params, state, found, [])

    monkeypatch.setattr(loop, "train", train)
    return scores, stacks


def test_the_best_rate_is_trained_with_the_other_seeds(given_scores, stores, tmp_path):
    scores, stacks = given_scores
    scores += [[[0.9, 0.1], [0.3, 0.4]], [[0.1], [0.2]]]
    runs = train_probe(probe_run(tmp_path, stores))
    assert [(name, len(stack)) for name, *_, stack in stacks] == [
        ("search", 2),
        ("repeat", 1),
    ]
    ((trial,),) = (stack for name, *_, stack in stacks if name == "repeat")
    assert (trial.learning_rate, trial.seed) == (0.1, 1)
    assert runs.best.learning_rate == 0.1
    assert runs.params["rate"].tolist() == [0.1, 0.1]
    assert [(c.epoch, c.validation) for c in runs.choices] == [(2, 0.4), (2, 0.2)]
    assert [t["validation"] for t in runs.search] == [0.3, 0.4]
    assert runs.ranges == {"learning_rate": (0.01, 0.1)}
    # Four epochs of 50 clips in batches of 16.
    assert runs.steps == 16


def test_each_seed_is_reported_at_its_own_best_epoch(given_scores, stores, tmp_path):
    scores, _ = given_scores
    scores += [[[0.9, 0.1], [0.3, 0.4]], [[0.1, 0.8], [0.2, 0.7]]]
    runs = train_probe(probe_run(tmp_path, stores, seeds=3, report_epoch="best"))
    assert runs.best.learning_rate == 0.01
    assert [(c.epoch, c.validation) for c in runs.choices] == [
        (1, 0.9),
        (2, 0.2),
        (1, 0.8),
    ]


def test_a_refit_trains_all_seeds_on_both_splits(given_scores, stores, tmp_path):
    scores, stacks = given_scores
    scores += [[[0.9, 0.1], [0.3, 0.4]], [[0.1], [0.2]]]
    train_probe(probe_run(tmp_path, stores, refit=True))
    assert [(*sizes, len(stack)) for _, *sizes, stack in stacks] == [
        (50, 21, 2),
        (50, 21, 1),
        (71, None, 2),
    ]


def searched(validations):
    """A study that found these validation scores."""

    class Study:
        def __init__(self, key, **rest):
            self.key = key
            self.space = Space(learning_rate=(1e-5, 9.0), weight_decay=(0.0, 1.0))

        def run(self):
            return [
                SearchTrial(
                    **self.key,
                    number=i,
                    proposed_by="sobol",
                    learning_rate=0.1 + i,
                    weight_decay=0.0,
                    status="stopped" if score is None else "finished",
                    epochs=2,
                    validation=score,
                    scores=(),
                )
                for i, score in enumerate(validations)
            ]

    return Study


@pytest.mark.parametrize(
    ("means", "best"),
    [
        # A seed of the first one diverged; then of all; then none.
        ([[0.9, NAN], [0.5, 0.6]], 0.1 + 2),
        ([[0.9, NAN], [NAN, 0.6]], 0.1 + 1),
        ([[0.9, 0.1], [0.6, 0.6]], 0.1 + 2),
    ],
)
def test_the_best_of_several_trials_has_the_best_mean(
    means, best, given_scores, stores, tmp_path, monkeypatch
):
    scores, stacks = given_scores
    scores += [[[0.0, 0.0], mean] for mean in means]
    monkeypatch.setattr(final_runs, "Study", searched([None, 0.8, 0.7, 0.6]))
    chosen = {"search": "sweep", "sweep": Sweep(top=2)}
    runs = train_probe(probe_run(tmp_path, stores, **chosen))
    assert [name for name, *_ in stacks] == ["repeat 1", "repeat 2"]
    assert runs.best.learning_rate == pytest.approx(best)
    assert len(runs.search) == 4
    assert runs.ranges["learning_rate"] == (1e-5, 9.0)


def test_a_fitted_probe_is_scored_without_training(stores, tmp_path):
    one = Sweep(neighbours=(20.0,), temperatures=(0.07,))
    runs = fit_probe(probe_run(tmp_path, stores, "knn", sweep=one))
    assert runs.best is None
    assert runs.ranges == {}
    (choice,) = runs.choices
    assert 0.3 < choice.validation <= 1


def test_validation_chooses_the_neighbours_that_are_not_set(stores, tmp_path):
    several = Sweep(neighbours=(50.0, 1.0, 3.0), temperatures=(0.07, 0.2))
    runs = fit_probe(probe_run(tmp_path, stores, "knn", sweep=several))
    assert len(runs.search) == 6
    best = max(runs.search, key=lambda t: t["validation"])
    assert runs.choices[0].validation == best["validation"]
    assert best["validation"] > min(t["validation"] for t in runs.search)
    chosen = {"neighbours": best["neighbours"], "temperature": best["temperature"]}
    assert runs.chosen == chosen
    assert (runs.probe.neighbours, runs.probe.temperature) == tuple(chosen.values())
    assert runs.ranges == {"neighbours": (1, 50), "temperature": (0.07, 0.2)}


def test_options_of_a_fitted_probe_that_are_set_are_not_searched(stores, tmp_path):
    given = ProbeOptions(neighbours=3, temperature=0.1)
    made = probe_run(tmp_path, stores, "knn", probe_options=given)
    probe = make_probe("knn", num_classes=3, neighbours=3, temperature=0.1)
    made.setup.probes["knn"] = probe
    runs = fit_probe(made)
    assert (runs.search, runs.chosen, runs.probe) == ((), {}, probe)


def test_few_clips_are_trained_for_more_epochs(stores, tmp_path, monkeypatch):
    lengths = []

    def train(task, stack, settings, *rest):
        lengths.append((settings.epochs, settings.eval_every))
        raise InterruptedError

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(InterruptedError):
        train_probe(probe_run(tmp_path, stores, steps=30))
    # 50 clips in batches of 16 are four steps per epoch.
    assert lengths == [(8, 2)]
