"""Learning rates against the schedules of the codes near to the paper."""

import re

import pytest

from tests.golden import FOLDER, assert_close, read
from unmute_jax.config import Experiment, Optimizer
from unmute_jax.errors import InputError
from unmute_jax.training.optimizer import learning_rate

CASE = read(FOLDER / "probes" / "schedules.npz")


def settings(name, total):
    """Those of a schedule, from its name."""
    if name.startswith("torch_cosine_eta"):
        return Optimizer(floor=float(name.removeprefix("torch_cosine_eta")))
    if name == "birdmae_cosine_warmup":
        return Optimizer(warmup=0.067, floor=1e-6)
    rise, hold = re.fullmatch(r"bat_riserundecay_w(\d+)(?:_c(\d+))?", name).groups()
    return Optimizer(
        warmup=int(rise) / total,
        hold=int(hold or 0) / total,
        floor=1e-6,
        floor_cuts=True,
    )


@pytest.mark.parametrize("name", [name for name in CASE if CASE[name].ndim])
def test_schedules_equal_the_reference(name):
    total, peak = int(CASE["total"]), float(CASE["lr"])
    chosen = settings(name, total)
    got = [learning_rate(i, peak, total, chosen) for i in range(total + 1)]
    assert_close(got, CASE[name], name, atol=1e-9, rtol=2e-6)


def test_shares_that_leave_no_step_are_refused():
    with pytest.raises(InputError, match="together below 1"):
        Experiment(optimizer=Optimizer(warmup=0.5, hold=0.5))
