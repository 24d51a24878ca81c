import dataclasses
import functools
import json

import numpy as np
import pytest

from tests.training.fakes import settings, setup, store
from unmute_jax import distributed, results
from unmute_jax.config import Sweep
from unmute_jax.errors import InputError
from unmute_jax.training import loop
from unmute_jax.training.batches import ProbeData
from unmute_jax.training.run import run_experiment
from unmute_jax.training.search import stack_size, study
from unmute_jax.training.search.samplers import OTHER_RATES, Point
from unmute_jax.training.workdir import Workdir

SMALL = Sweep(sobol=4, tpe=4, tpe_at_once=2, halvings=1, reduction=2)


def run(path, **changes):
    given = {"search": "sweep", "sweep": SMALL, "probes": "linear", **changes}
    made = setup(settings(**given))
    workdir = Workdir(path, made.settings)
    return run_experiment(made, workdir, log=lambda line: None), workdir


def trials_of(workdir):
    found = [results.read_search_trial(p) for p in workdir.trials.glob("*.json")]
    return sorted(found, key=lambda t: t.number)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("sweep") / "run")


def test_every_trial_has_a_record(finished):
    records, workdir = finished
    trials = trials_of(workdir)
    assert [t.number for t in trials] == list(range(8))
    assert [t.proposed_by for t in trials] == ["sobol"] * 4 + ["tpe"] * 4
    # Half of the first round goes on beyond the first rung.
    assert [t.epochs for t in trials[:4]].count(4) == 2
    for trial in trials:
        assert trial.status == ("finished" if trial.epochs == 4 else "stopped")
        assert dict(trial.scores)[trial.epochs] == trial.validation
        low, high = OTHER_RATES
        assert low <= trial.learning_rate <= high
        assert 1e-5 <= trial.weight_decay <= 5e-4
    assert records[0].search == tuple(t.summary() for t in trials)


def test_the_best_of_those_that_finished_is_trained_with_all_seeds(finished):
    records, workdir = finished
    done = [t for t in trials_of(workdir) if t.status == "finished"]
    best = max(done, key=lambda t: t.validation)
    assert [r.seed for r in records] == [0, 1]
    for record in records:
        assert record.learning_rate == best.learning_rate
        assert record.weight_decay == best.weight_decay
    # The same training once more: the seed of the search is the first.
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


@pytest.fixture
def widths(monkeypatch):
    """Trials of each stack that is trained."""
    found, train = [], loop.train

    def counting(task, probe, stack, *args, **options):
        found.append(len(stack))
        return train(task, probe, stack, *args, **options)

    monkeypatch.setattr(loop, "train", counting)
    return found


class FakeSteps:
    """Two seconds, and `each` more for each trial."""

    def __init__(self, *chosen, each, shard_trials):
        self.count, self.each = chosen[-1], each

    def run(self):
        pass

    def seconds(self):
        return 2 + self.each * self.count


@pytest.mark.parametrize(
    # The tokens, then the probe, are most of the work; and a search of a moment.
    ("each", "long", "width"),
    [(0.1, 0, 4), (100, 0, 1), (100, 1e9, 4)],
)
def test_trials_are_stacked_where_that_is_faster(
    each, long, width, tmp_path, monkeypatch, widths
):
    steps = functools.partial(FakeSteps, each=each)
    monkeypatch.setattr(stack_size, "Steps", steps)
    monkeypatch.setattr(stack_size, "_seconds", FakeSteps.seconds)
    monkeypatch.setattr(stack_size, "LONG", long)
    run(tmp_path / "run", devices=1)
    assert max(widths[:-1]) == width


def test_a_search_that_goes_on_has_the_stacks_that_were_measured(
    tmp_path, monkeypatch, widths
):
    monkeypatch.setattr(study, "fastest", lambda *args: 3)
    train = loop.train
    monkeypatch.setattr(loop, "train", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run")
    monkeypatch.setattr(study, "fastest", lambda *args: 1)
    monkeypatch.setattr(loop, "train", train)
    run(tmp_path / "run")
    assert widths[:2] == [3, 1]


@pytest.mark.parametrize("devices", [1, 2])
def test_real_steps_are_timed(devices, monkeypatch):
    made = setup(settings(sweep=SMALL))
    probe, mesh = made.probes["protobin"], distributed.make_mesh(devices)
    monkeypatch.setattr(stack_size, "LONG", 0)
    chosen = probe, made.loss, sweep_clips(), made.settings, mesh
    assert stack_size.fastest(*chosen, 8) in (8, devices)


def test_narrow_stacks_find_the_same(finished, tmp_path, monkeypatch, widths):
    monkeypatch.setattr(study, "trials_at_once", lambda *args: 1)
    _, workdir = run(tmp_path / "run")
    # One after the other, and only those that go on.
    assert widths[:6] == [1] * 6
    for ours, theirs in zip(trials_of(workdir), trials_of(finished[1]), strict=True):
        assert ours.status == theirs.status
        assert ours.validation == pytest.approx(theirs.validation, abs=2e-3)


def test_stopped_trials_are_no_work_any_more(tmp_path, monkeypatch):
    seen, train = [], loop.train

    def watching(task, probe, stack, *args, **options):
        seen.append((len(stack), options.get("begin", (0,)), options.get("epochs")))
        return train(task, probe, stack, *args, **options)

    monkeypatch.setattr(loop, "train", watching)
    run(tmp_path / "run", sweep=dataclasses.replace(SMALL, tpe=0), seeds=1)
    widths = [(width, epochs) for width, _, epochs in seen]
    assert widths == [(4, 2), (2, 4), (1, None)]
    assert seen[1][1][0] == 2


def test_a_trial_that_diverges_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    points = [Point(r, 1e-5) for r in (0.01, 1e38, 0.02, 0.03)]
    monkeypatch.setattr(study, "sobol", lambda *args: points)
    _, workdir = run(tmp_path / "run", sweep=dataclasses.replace(SMALL, tpe=0), seeds=1)
    trials = trials_of(workdir)
    assert trials[1].status == "diverged"
    assert trials[1].validation is None
    assert "NaN" not in (workdir.trials / trials[1].file_name()).read_text()
    assert [t.status for t in trials].count("finished") >= 1
    json.dumps(trials[1].summary(), allow_nan=False)


def test_a_search_in_which_all_diverge_says_so(tmp_path):
    hot = dataclasses.replace(SMALL, lowest_rate=1e37, highest_rate=1e38, tpe=0)
    with pytest.raises(InputError, match=r"linear diverged: lower config\.sweep"):
        run(tmp_path / "run", sweep=hot)


def test_halvings_can_be_left_out(tmp_path):
    whole = dataclasses.replace(SMALL, halvings=0, tpe=0)
    _, workdir = run(tmp_path / "run", sweep=whole, seeds=1)
    assert {t.status for t in trials_of(workdir)} == {"finished"}


def test_the_memory_of_a_trial_grows_with_its_prototypes():
    made = setup(settings(probes="protobin"))
    clips = sweep_clips()
    sizes = [
        stack_size.bytes_per_trial(
            made.probes["protobin"].clone(prototypes_per_class=j),
            made.loss,
            clips,
            made.settings,
        )
        for j in (100, 400)
    ]
    # Parameters and two moments, float32.
    features = clips.read(np.arange(1)).patches.shape[-1]
    assert sizes[1] - sizes[0] > 3 * 4 * 3 * 300 * features


def sweep_clips():
    return ProbeData([store("train")], "tokens")
