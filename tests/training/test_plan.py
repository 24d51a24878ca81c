import dataclasses
import json
import re

import numpy as np
import pytest

from tests.store.fakes import unhashed_encoder
from tests.training.fakes import make_setup, settings
from unmute_jax.config import Experiment, ProbeOptions, Sweep
from unmute_jax.encoders import ExportedTokens
from unmute_jax.errors import InputError
from unmute_jax.training import plan
from unmute_jax.training.run import run_experiment
from unmute_jax.training.search.halving import rung_epochs
from unmute_jax.training.workdir import Workdir


def test_a_search_costs_what_its_stopped_trials_ran_and_its_repeats():
    def trainings(epochs=27, refit=False, **sweep):
        chosen = {"search": "sweep", "seeds": 5, "epochs": epochs, "refit": refit}
        return plan.trainings_of(Experiment(**chosen, sweep=Sweep(**sweep)))

    assert trainings(halvings=0) == 50 + 5
    assert trainings(halvings=0, tpe=0, top=3, refit=True) == 25 + 3 * 5 + 5
    # 50 to a ninth, a third of them to a third, a ninth of them to the end.
    whole = 50 * (1 / 9 + 1 / 3 * (1 / 3 - 1 / 9) + 1 / 9 * (1 - 1 / 3))
    assert trainings(halvings=2, reduction=3) == pytest.approx(whole + 5)
    # Of two epochs a ninth is none, and a third the first one.
    assert rung_epochs(2, 2, 3) == (1, 2)
    assert trainings(2, halvings=2) == pytest.approx(50 * (1 / 2 + 1 / 3 / 2) + 5)
    assert plan.trainings_of(Experiment(seeds=5)) == 10 + 4


def describe(monkeypatch, folder, width=6, **changes):
    """The plan of a run whose steps take a second for each trial; stacks measured."""
    measured = []

    def step_seconds(setup, probe, sharding, count):
        measured.append((count, sharding.split))
        return 1.0 * count, 77

    monkeypatch.setattr(plan, "step_seconds", step_seconds)
    monkeypatch.setattr(plan, "trials_at_once", lambda *arguments: width)
    made = make_setup(settings(probes="linear", **changes))
    return plan.describe(made, folder), measured


def test_the_plan_of_a_sweep_counts_its_trials(monkeypatch, tmp_path):
    text, measured = describe(monkeypatch, tmp_path, search="sweep", epochs=9)
    search = "25 trials of a Sobol sequence and 25 of TPE, 5 at a time, then the best"
    assert f"{search} with 2 seeds\n" in text
    assert "learning rates 1e-05 to 0.3 for linear\n" in text
    # All to epoch 1, a third of them to 3, a ninth of them to 9: 7 / 27.
    assert "one in 3 is promoted after 1 and 3 of 9 epochs: about 26 %" in text
    # Two devices share five trials, the last of which is trained twice.
    assert "up to 3 trials at once on each of 2 devices (room for 3 in" in text
    assert measured == [(6, "trials")]
    # 4 steps an epoch; 50 x 7 / 27 trainings, then 2.
    seconds = 4 * 9 * (50 * 7 / 27 + 2)
    assert "linear: 77 parameters, 36 steps of 16 clips 15 times" in text
    assert f"about {seconds:.0f} s\nin all    about {seconds:.0f} s" in text


def test_the_plan_counts_the_steps_that_few_clips_are_given(monkeypatch, tmp_path):
    text, _ = describe(monkeypatch, tmp_path, steps=300)
    assert "linear: 77 parameters, 300 steps of 16 clips" in text
    assert "note" not in text


def test_all_trials_of_a_sweep_may_run_to_their_end(monkeypatch, tmp_path):
    sweep = Sweep(sobol=8, tpe=0, halvings=0, top=3)
    options = {"search": "sweep", "sweep": sweep, "devices": 1}
    text, measured = describe(monkeypatch, tmp_path, width=20, **options)
    assert "8 trials of a Sobol sequence, then the best 3 with 2 seeds\n" in text
    assert "promoted" not in text
    assert "16 steps of 16 clips 14 times, up to 8 trials at once on one dev" in text
    assert "(room for 20 in memory that is free now): about 224 s" in text
    assert measured == [(5, "clips")]


def test_the_plan_of_rates_counts_them_and_the_seeds(monkeypatch, tmp_path):
    text, measured = describe(monkeypatch, tmp_path, refit=True)
    rates = "2 learning rates from 0.01 to 0.1"
    assert f"{rates}, then the best with 2 seeds, and the chosen" in text
    assert "note      only 16 optimiser steps (50 clips, batches of 16, 4 epo" in text
    assert measured == [(2, "clips")]
    # The better rate has one seed already; both are trained again.
    assert "16 steps of 16 clips 5 times, 2 trials at once: about 80 s" in text


@pytest.mark.parametrize(
    ("layers", "linear", "protobin"),
    [
        ("learned", "summaries of 2 layers", "2 layers"),
        ("-1", "summaries of 2 layers", "layer 1"),
    ],
)
def test_the_plan_says_which_layers_take_how_much(
    monkeypatch, tmp_path, layers, linear, protobin
):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "step_seconds", lambda *arguments: (1.0, 77))
    monkeypatch.setattr(plan, "encoder_rate", lambda *arguments: 50.0)

    def tokens(probes):
        options = ProbeOptions(layers=layers)
        made = make_setup(settings(probes=probes, probe_options=options))
        text = plan.describe(made, tmp_path / "run")
        return [line for line in text.splitlines() if line.startswith("tokens")]

    more = "0 MB (0 MB for the last layer alone), to be made"
    assert tokens("linear")[0] == (
        f"tokens    train, {linear}: 50 clips, {more} (0 of 50 clips done)"
    )
    cost = more if layers == "learned" else "0 MB, to be made"
    found = tokens("protobin")
    assert found[0].startswith(f"tokens    train, {protobin}: 50 clips, {cost} (0 of")
    assert len(found) == 3
    # A run keeps all that its probes read; one other layer has a store of its own.
    assert len(tokens("linear,mlp,protobin")) == (3 if layers == "learned" else 6)


def unhashed(seed):
    """The setup of an experiment with an encoder whose key does not say everything."""
    made = make_setup(settings(probes="knn"))
    return dataclasses.replace(made, encoder=unhashed_encoder(seed))


def test_the_plan_says_what_was_checked_and_refuses_stale_tokens(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path))
    monkeypatch.setattr(plan, "encoder_rate", lambda *arguments: 50.0)
    made = unhashed(0)
    before = plan.describe(made, tmp_path / "run", explain=True)
    assert "there are no tokens of fake/tones train by fake+ under" in before
    key = "in the key of its tokens: the stated version, options, and weights (its own)"
    assert key in before
    workdir = Workdir(tmp_path / "run", made.settings)
    (record,) = run_experiment(made, workdir, log=lambda line: None)
    wanted = dict.fromkeys(("train", "validation", "test"), "computed by this run")
    assert record.token_checks == wanted
    after = plan.describe(made, tmp_path / "run")
    assert after.count("was embedded again and agrees") == 3
    assert key not in after
    with pytest.raises(InputError, match="fake/tones train are not those that fake"):
        plan.describe(unhashed(1), tmp_path / "run")
    again = Workdir(tmp_path / "again", made.settings)
    (record,) = run_experiment(made, again, log=lambda line: None)
    assert set(record.token_checks) == wanted.keys()
    assert all("embedded again and agrees" in x for x in record.token_checks.values())


def test_the_plan_refuses_exported_tokens_of_other_clips(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    made = make_setup(settings(probes="knn"))
    facts = {"name": "x", "seconds_per_step": 0.2, "frequency_edges_hz": [[0, 400]]}
    (tmp_path / "tokens.json").write_text(json.dumps(facts))
    ids = [f"other {i}" for i in range(93)]
    np.savez(tmp_path / "1.npz", patches=np.ones((93, 5, 1, 6), np.float32), ids=ids)
    exported = ExportedTokens.open(tmp_path)
    with pytest.raises(InputError, match="no tokens of 50 of the 50 clips of fake/ton"):
        plan.describe(dataclasses.replace(made, encoder=exported), tmp_path / "run")
    ids = [i for s in made.splits for i in made.dataset.ids(s)]
    np.savez(tmp_path / "1.npz", patches=np.ones((93, 5, 1, 6), np.float32), ids=ids)
    exported = ExportedTokens.open(tmp_path)
    made = dataclasses.replace(made, encoder=exported)
    text = plan.describe(made, tmp_path / "run", explain=True)
    assert "in the key of its tokens: the content of all exported files" in text
    assert "50 clips, 0 MB, to be made" in text


def test_a_sweep_is_measured_on_this_machine(tmp_path):
    made = make_setup(settings(probes="linear", search="sweep", epochs=9))
    text = plan.describe(made, tmp_path / "new")
    width = re.search(r"room for ([\d,]+) in memory", text)
    assert int(width[1].replace(",", "")) > 1
    assert re.search(
        r"36 steps of 16 clips 15 times, up to 13 trials .*: about \d+ s", text
    )
    assert not (tmp_path / "new").exists()
