import os
import signal
import threading

import pytest

from unmute_jax.distributed import signals


@pytest.fixture(autouse=True)
def handlers():
    before = {s: signal.getsignal(s) for s in signals.SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", signals.SIGNALS)
def test_a_signal_stops_at_once_and_says_how_to_go_on(signum):
    signals.at_once()
    with pytest.raises(signals.Stopped) as stop:
        os.kill(os.getpid(), signum)
    name = signal.Signals(signum).name
    assert str(stop.value) == f"stopped by {name}; the same command goes on from here"
    assert stop.value.code == 128 + signum


def test_a_deferred_signal_waits_and_a_second_term_does_too():
    with signals.deferred() as signalled:
        assert signalled() == 0
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signalled() == signal.SIGTERM


def test_a_second_ctrl_c_does_not_wait():
    with signals.deferred() as signalled:
        os.kill(os.getpid(), signal.SIGINT)
        assert signalled() == signal.SIGINT
        with pytest.raises(signals.Stopped, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_defer_nothing():
    heard = []

    def work():
        with signals.deferred() as signalled:
            heard.append(signalled())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [0]
