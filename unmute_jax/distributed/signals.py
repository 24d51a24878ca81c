"""Handles SIGTERM and Ctrl-C: a run stops at once, or after the current step.

All files are written atomically, so most of a run may stop at any moment. Training
would lose the steps since its last checkpoint: it defers the signals, finishes its
step and saves.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """A signal has stopped the run, which the same command continues.

    Attributes:
        code: Exit code of the process: 128 plus the number of the signal.
    """

    def __init__(self, signum: int, whence: str = "here"):
        """Creates the exception.

        Args:
            signum: Number of the signal.
            whence: The point at which the next run continues, for the message.
        """
        self.code = 128 + signum
        name = signal.Signals(signum).name
        super().__init__(f"stopped by {name}; the same command goes on from {whence}")


def at_once() -> None:
    """Makes both signals raise `Stopped` in the main thread from now on."""
    for signum in SIGNALS:
        signal.signal(signum, _raise)


@contextlib.contextmanager
def deferred() -> Generator[Callable[[], int]]:
    """Defers signals for the duration of a `with` block.

    A second Ctrl-C stops at once. Outside the main thread nothing changes.

    Yields:
        A function that returns the number of the last signal, or 0.
    """
    received = 0

    def receive(signum: int, frame: FrameType | None) -> None:
        nonlocal received
        # Only Ctrl-C: schedulers may send SIGTERM more than once.
        if received and signum == signal.SIGINT:
            _raise(signum, frame)
        received = signum

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {signum: signal.signal(signum, receive) for signum in SIGNALS}
    try:
        yield lambda: received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Stopped(signum)
