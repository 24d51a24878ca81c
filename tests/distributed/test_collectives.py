"""Two processes agree on values; one alone needs nobody."""

import pytest

from tests.distributed.process import run
from unmute_jax import distributed
from unmute_jax.errors import InputError


def test_processes_agree_and_an_error_in_one_ends_both():
    (first, output, _), (second, silenced, errors) = run("agree")
    assert second == 2
    assert "error: the index must be the same for all processes" in errors
    assert "process 1 has 1" in errors
    assert first != 0
    assert "agreed" in output
    assert "agreed" not in silenced


def test_one_process_agrees_with_itself():
    distributed.wait_for_all("nothing")
    distributed.assert_same_on_all("the weather", "fair")
    assert distributed.processes_here() == 1
    assert distributed.local_share(range(3)) == range(3)
    assert distributed.broadcast_from_writer(lambda: "value") == "value"
    assert distributed.global_min(2**40) == 2**40
    # Nobody has to be waited for: the values count in every step.
    assert distributed.global_max(16, 17, 15, 1) == (15, 1)
    with pytest.raises(InputError, match="not there"):
        distributed.retry_until_visible(_missing)


def _missing():
    raise InputError("not there")
