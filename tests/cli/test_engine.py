"""The options of work that is spread over a cluster."""

import pytest
from absl.testing import flagsaver

from unmute_jax.cli import engine
from unmute_jax.errors import InputError


class Cluster:
    """A cluster of one node."""

    def __init__(self, **resources):
        self._resources = resources

    def nodes(self):
        return [{"NodeID": "a", "Alive": True, "Resources": self._resources}]


def test_options_of_a_cluster_need_its_engine():
    assert engine.is_local()
    with (
        flagsaver.as_parsed(cpus="2"),
        pytest.raises(InputError, match="--cpus needs --engine=ray"),
    ):
        engine.is_local()
    with flagsaver.as_parsed(engine="ray", cpus="2"):
        assert not engine.is_local()


def test_what_is_not_said_is_one_accelerator_with_its_share_of_the_cores(capsys):
    cluster = Cluster(CPU=16.0, GPU=4.0)
    assert engine.needs(cluster).amounts() == {"CPU": 4.0, "GPU": 1.0}
    with flagsaver.as_parsed(gpus="0.25"):
        assert engine.needs(cluster).amounts() == {"CPU": 4.0, "GPU": 0.25}
    with flagsaver.as_parsed(gpus="0", cpus="2"):
        assert engine.needs(cluster).amounts() == {"CPU": 2.0}
    assert capsys.readouterr().out == ""
    with flagsaver.as_parsed(resources="TPU=4"):
        assert engine.needs(cluster).amounts() == {"CPU": 4.0, "TPU": 4.0}
    assert "no node of the Ray cluster has CPU 4, TPU 4" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["TPU", "TPU=", "TPU=-1", "=4", "GPU=1", "TPU=nan"])
def test_a_wrong_amount_is_refused(wrong):
    with (
        flagsaver.as_parsed(resources=wrong),
        pytest.raises(InputError, match="must be NAME=AMOUNT, such as TPU=4"),
    ):
        engine.needs(Cluster(CPU=1.0))
