import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.training.fakes import make_setup, settings
from tests.training.search.fakes import fake_train, make_study
from unmute_jax import results
from unmute_jax.config import Sweep
from unmute_jax.errors import InputError
from unmute_jax.training import loop
from unmute_jax.training.run import run_experiment
from unmute_jax.training.search import study
from unmute_jax.training.search.samplers import Point
from unmute_jax.training.workdir import Workdir

NAN = float("nan")
SMALL = Sweep(sobol=4, tpe=4, tpe_at_once=2, halvings=1, reduction=2)
ONE_ROUND = dataclasses.replace(SMALL, tpe=0)
RATES = (1e-5, 0.3)


def run(path):
    made = make_setup(settings(search="sweep", sweep=SMALL, probes="linear"))
    workdir = Workdir(path, made.settings)
    return run_experiment(made, workdir, log=lambda line: None), workdir


def trials_of(workdir):
    found = [results.read_search_trial(p) for p in workdir.trials.glob("*.json")]
    return sorted(found, key=lambda t: t.number)


@pytest.fixture
def calls(monkeypatch):
    """The width, the first and the last epoch of each training."""
    found, train = [], loop.train

    def noting(task, stack, *args, **options):
        begin = options.get("begin") or (0, None)
        found.append((len(stack), begin[0], options.get("epochs")))
        return train(task, stack, *args, **options)

    monkeypatch.setattr(loop, "train", noting)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("sweep") / "run")


@pytest.fixture
def narrow(monkeypatch):
    """Stacks of at most eight trials, without a measurement."""
    monkeypatch.setattr(study, "trials_at_once", lambda *arguments: 8)
    monkeypatch.setattr(study, "fastest_stack", lambda *arguments: 8)


def test_every_trial_has_a_record(finished):
    records, workdir = finished
    trials = trials_of(workdir)
    assert [t.number for t in trials] == list(range(8))
    assert [t.proposed_by for t in trials] == ["sobol"] * 4 + ["tpe"] * 4
    # Half of the first round is promoted beyond the first rung.
    assert [t.epochs for t in trials[:4]].count(4) == 2
    for trial in trials:
        assert trial.status == ("finished" if trial.epochs == 4 else "stopped")
        assert dict(trial.scores)[trial.epochs] == trial.validation
        assert RATES[0] <= trial.learning_rate <= RATES[1]
        assert 1e-5 <= trial.weight_decay <= 5e-4
    assert records[0].search == tuple(t.summary() for t in trials)
    ranges = {"learning_rate": RATES, "weight_decay": (1e-5, 5e-4)}
    assert records[0].ranges == ranges


def test_the_best_finished_trial_is_trained_with_all_seeds(finished):
    records, workdir = finished
    done = [t for t in trials_of(workdir) if t.status == "finished"]
    best = max(done, key=lambda t: t.validation)
    assert [r.seed for r in records] == [0, 1]
    for record in records:
        assert record.learning_rate == best.learning_rate
        assert record.weight_decay == best.weight_decay
    # The first seed is that of the search: the same training once more.
    assert records[0].validation == pytest.approx(best.validation, abs=1e-3)


def test_checkpoints_of_finished_rounds_are_gone(finished):
    _, workdir = finished
    left = workdir.checkpoints("linear", "official split")
    assert [p.name for p in left.iterdir() if any(p.iterdir())] == ["repeat-1"]


def test_a_stopped_search_ends_like_an_undisturbed_one(finished, tmp_path, monkeypatch):
    records, undisturbed = finished
    train, calls = loop.train, []

    class Stopped(Exception):
        pass

    def stopping(*args, **options):
        calls.append(None)
        if len(calls) in stops:
            raise Stopped
        return train(*args, **options)

    # Between the rungs of the first round, and in the second and third.
    stops = (2, 5, 8)
    monkeypatch.setattr(loop, "train", stopping)
    for _ in stops:
        with pytest.raises(Stopped):
            run(tmp_path / "run")
    again, workdir = run(tmp_path / "run")
    assert trials_of(workdir) == trials_of(undisturbed)
    for ours, theirs in zip(again, records, strict=True):
        for name in ("test", "validation", "search", "per_class"):
            assert getattr(ours, name) == getattr(theirs, name)


def test_a_damaged_trial_is_named_and_made_again(finished, tmp_path, caplog):
    _, undisturbed = finished
    shutil.copytree(undisturbed.path, tmp_path / "run")
    for folder in ("results", "trials"):
        path = sorted((tmp_path / "run" / folder).glob("*.json"))[0]
        path.write_text("{}")
    _, workdir = run(tmp_path / "run")
    assert trials_of(workdir) == trials_of(undisturbed)
    assert [m.split(":")[1] for m in caplog.messages] == [
        " has no field experiment"
    ] * 2


def test_narrow_stacks_give_the_same(finished, tmp_path, monkeypatch, calls):
    monkeypatch.setattr(study, "trials_at_once", lambda *arguments: 1)
    _, workdir = run(tmp_path / "run")
    # One after the other, and only those that are promoted.
    assert [width for width, *_ in calls[:6]] == [1] * 6
    for ours, theirs in zip(trials_of(workdir), trials_of(finished[1]), strict=True):
        assert ours.status == theirs.status
        assert ours.validation == pytest.approx(theirs.validation, abs=2e-3)


def test_the_measured_width_is_kept_for_a_search_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "trials_at_once", lambda *arguments: 8)
    for measured in (3, 1):
        monkeypatch.setattr(study, "fastest_stack", lambda *args, m=measured: m)
        assert make_study(tmp_path, sweep=SMALL).width == 3
    # Less memory than before makes it narrower nevertheless.
    monkeypatch.setattr(study, "trials_at_once", lambda *arguments: 2)
    assert make_study(tmp_path, sweep=SMALL).width == 2


def test_stopped_trials_are_not_trained_any_more(tmp_path, monkeypatch, narrow):
    calls = []
    train = fake_train(lambda trial, epoch: trial.learning_rate, calls)
    monkeypatch.setattr(loop, "train", train)
    trials = make_study(tmp_path, sweep=ONE_ROUND).run()
    assert calls == [(4, 0, 2), (2, 2, 4)]
    rates = sorted(t.learning_rate for t in trials)
    finished = [t.learning_rate for t in trials if t.status == "finished"]
    assert sorted(finished) == rates[2:]


def test_best_scores_are_compared_with_best_scores(tmp_path, monkeypatch, narrow):
    """The first trial was better before the rung than the second one ever was."""
    scores = {0.001: [0.9, 0.3, 0.3, 0.3], 0.002: [0.4, 0.5, 0.6, 0.7]}
    rates = iter(scores)
    for proposer in ("sobol", "tpe"):
        point = [Point(next(rates), 1e-5)]
        monkeypatch.setattr(study, proposer, lambda *args, point=point: point)
    train = fake_train(lambda trial, epoch: scores[trial.learning_rate][epoch - 1])
    monkeypatch.setattr(loop, "train", train)
    sweep = Sweep(sobol=1, tpe=1, halvings=1, reduction=2)
    first, second = make_study(tmp_path, sweep=sweep, report_epoch="best").run()
    assert (first.status, first.validation) == ("finished", 0.9)
    assert (second.status, second.epochs, second.validation) == ("stopped", 2, 0.5)


def test_a_score_at_a_rung_is_that_of_the_epoch_or_the_best_until_then():
    scores = [(1, 0.5), (2, 0.3), (3, 0.9), (4, None)]
    assert study.score_at(scores, 2, "last") == 0.3
    assert study.score_at(scores, 2, "best") == 0.5
    assert study.score_at(scores, 3, "best") == 0.9
    for report_epoch in ("last", "best"):
        assert np.isnan(study.score_at(scores, 4, report_epoch))
        # A trial that was stopped before has no score there.
        assert np.isnan(study.score_at(scores[:2], 3, report_epoch))


def test_a_trial_that_diverges_is_recorded_and_the_others_go_on(
    tmp_path, monkeypatch, narrow
):
    points = [Point(rate, 1e-5) for rate in (0.01, 0.5, 0.02, 0.03)]
    monkeypatch.setattr(study, "sobol", lambda *args: points)
    train = fake_train(lambda trial, epoch: NAN if trial.learning_rate > 0.1 else 0.5)
    monkeypatch.setattr(loop, "train", train)
    made = make_study(tmp_path, sweep=ONE_ROUND)
    trials = made.run()
    assert [t.status for t in trials] == ["finished", "diverged", "stopped", "stopped"]
    assert trials[1].validation is None
    for path in made.workdir.trials.iterdir():
        assert "NaN" not in path.read_text()
    json.dumps(trials[1].summary(), allow_nan=False)


def test_a_search_in_which_all_trials_diverge_says_so(tmp_path, monkeypatch, narrow):
    monkeypatch.setattr(loop, "train", fake_train(lambda trial, epoch: NAN))
    with pytest.raises(InputError, match=r"linear diverged: lower config\.sweep"):
        make_study(tmp_path, sweep=ONE_ROUND).run()


def test_a_trial_whose_loss_stays_at_chance_never_started(
    tmp_path, monkeypatch, narrow
):
    monkeypatch.setattr(loop, "train", fake_train(lambda trial, epoch: 0.5))
    trials = make_study(tmp_path, sweep=ONE_ROUND).run()
    # Those that are stopped at the first rung have one evaluation, which tells nothing.
    assert [t.never_started for t in trials] == [t.status == "finished" for t in trials]


def test_halvings_can_be_left_out(tmp_path, monkeypatch, narrow):
    monkeypatch.setattr(loop, "train", fake_train(lambda trial, epoch: 0.5))
    whole = dataclasses.replace(ONE_ROUND, halvings=0)
    trials = make_study(tmp_path, sweep=whole).run()
    assert {t.status for t in trials} == {"finished"}


def test_the_ranges_are_common_or_those_of_the_paper_or_of_the_settings(tmp_path):
    assert make_study(tmp_path / "a").space.learning_rate == RATES
    assert {Sweep().rates_for(name) for name in ("linear", "proto")} == {RATES}
    chosen = dataclasses.replace(SMALL, lowest_rate=1e-3, highest_decay=1e-2)
    space = make_study(tmp_path / "b", sweep=chosen).space
    assert space.learning_rate == (1e-3, RATES[1])
    assert space.weight_decay == (1e-5, 1e-2)
    paper = Sweep(ranges="paper")
    assert make_study(tmp_path / "c", sweep=paper).space.learning_rate == (1e-4, 7e-3)
    assert paper.rates_for("protobin") == (2e-3, 8e-2)
