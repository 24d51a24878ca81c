"""What a search in which all trials diverged names as the possible cause."""

import pytest

from tests.training.fakes import make_setup, settings
from unmute_jax.config import Experiment, Loss, Optimizer, ProbeOptions, Sweep
from unmute_jax.errors import InputError
from unmute_jax.training.divergence import advice
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir

USUAL = "lower config.optimizer.learning_rates (tried: 0.01 to 0.1)"


def test_without_an_unusual_setting_it_is_the_learning_rates():
    assert advice(Experiment(), (0.01, 0.1)) == USUAL
    sweep = Experiment(search="sweep")
    assert advice(sweep, (0.01, 0.1)) == (
        "lower config.sweep.lowest_rate and highest_rate (tried: 0.01 to 0.1)"
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"optimizer": Optimizer(eps=0.0)}, "config.optimizer.eps=0 (parameters"),
        ({"optimizer": Optimizer(b2=0.0)}, "config.optimizer.b2=0 (b1=0.9 is above"),
        (
            {"optimizer": Optimizer(weight_decay=300.0)},
            "config.optimizer.weight_decay=300 (times the learning rate",
        ),
        (
            {"search": "sweep", "sweep": Sweep(highest_decay=300.0)},
            "config.sweep.highest_decay=300 (times the learning rate",
        ),
        ({"loss": Loss(gamma_negative=50.0)}, "config.loss.gamma_negative=50 (1 to"),
        ({"loss": Loss(gamma_positive=0.5)}, "config.loss.gamma_positive=0.5 (1 to"),
        (
            {"probe_options": ProbeOptions(penalty_weight=1e5)},
            "config.probe_options.penalty_weight=100000 (1 or less is usual)",
        ),
    ],
)
def test_an_unusual_setting_is_named_first(changes, cause):
    text = advice(Experiment(**changes), (0.01, 0.1))
    assert text.startswith(f"possible causes are {cause}")
    assert "; otherwise lower config." in text


def test_rates_that_are_all_high_are_a_cause_themselves():
    eps = Optimizer(eps=0.0, learning_rates=(100.0, 500.0))
    text = advice(Experiment(optimizer=eps), (100.0, 500.0))
    assert text.endswith("; config.optimizer.learning_rates (tried: 100 to 500)")


def test_a_run_that_diverges_everywhere_names_the_decay(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path))
    decay = Optimizer(learning_rates=(0.01, 0.1), weight_decay=1000.0)
    made = make_setup(settings(probes="linear", epochs=30, optimizer=decay))
    workdir = Workdir(tmp_path / "run", made.settings)
    with pytest.raises(InputError, match=r"causes are config\.optimizer\.weight_decay"):
        run_experiment(made, workdir, log=lambda line: None)
