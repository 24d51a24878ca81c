import pytest

from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.training.setup import prepare


def chosen(**options):
    return Experiment.from_dict(
        {"dataset": "esc10", "probes": "linear,mhca", "probe_options": options}
    )


def test_a_probe_that_cannot_cut_the_tokens_is_refused_before_any_is_made():
    with pytest.raises(InputError) as error:
        prepare(chosen())
    for words in (
        "probe 'mhca' on the tokens of log-mel patches",
        "num_heads=12 does not divide the 256 features; 8 does",
        "config.probe_options",
    ):
        assert words in str(error.value)
    assert list(prepare(chosen(num_heads=8)).probes) == ["linear", "mhca"]
