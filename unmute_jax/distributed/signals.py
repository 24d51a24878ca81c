"""Stopping in good order: SIGTERM and Ctrl-C, at once or after the step in hand.

Whatever this package writes is whole or absent, so that most of a run may be left at
any moment. Training is different: what it did since its last checkpoint would be lost.
It defers the signals, finishes its step, and saves.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """Somebody asked this run to end; the same command goes on.

    Attributes:
        code: What the process exits with, 128 and the number of the signal.
    """

    def __init__(self, signum: int, whence: str = "here"):
        """By signal `signum`; the next run goes on from `whence`."""
        self.code = 128 + signum
        name = signal.Signals(signum).name
        super().__init__(f"stopped by {name}; the same command goes on from {whence}")


def at_once() -> None:
    """From now on both signals raise `Stopped` in the main thread."""
    for signum in SIGNALS:
        signal.signal(signum, _raise)


@contextlib.contextmanager
def deferred() -> Generator[Callable[[], int]]:
    """Inside, a signal only leaves a note: the value tells its number, 0 for none.

    A second Ctrl-C stops at once. Outside of the main thread nothing changes.
    """
    noted = 0

    def note(signum: int, frame: FrameType | None) -> None:
        nonlocal noted
        # Schedulers may send SIGTERM more than once.
        if noted and signum == signal.SIGINT:
            _raise(signum, frame)
        noted = signum

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {signum: signal.signal(signum, note) for signum in SIGNALS}
    try:
        yield lambda: noted
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Stopped(signum)
