"""What the tests of hostile files share."""

import resource
import time

import pytest

from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights


def peak_megabytes():
    """The most memory that this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def refused(tmp_path):
    """Checks that a file is refused in one short line, soon, and in little memory."""

    def check(file, match, *, load=read_weights):
        begin, peak = time.process_time(), peak_megabytes()
        with pytest.raises(InputError, match=match) as caught:
            load(file)
        assert time.process_time() - begin < 20
        assert peak_megabytes() - peak < 300
        message = str(caught.value)
        assert str(file) in message
        assert message.isprintable()
        assert len(message) < 1500
        assert not (tmp_path / "PWNED").exists()

    return check
