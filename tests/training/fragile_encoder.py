"""An encoder that waits, dies or gives no finite tokens, if it is asked to."""

import os
import pathlib
import signal
import time

import numpy as np

from tests.encoders.custom_encoders import Spectral


class Fragile(Spectral):
    """Obeys the files `kill` and `nan` in a folder, once, and `wait` and `large`.

    The file of the weights names the folder.
    """

    def __init__(self, weights=None):
        super().__init__()
        self._folder = pathlib.Path(pathlib.Path(weights).read_text())

    def __call__(self, waveform, lengths):
        tokens = super().__call__(waveform, lengths)
        if (self._folder / "large").exists():
            tokens = tokens + np.float32(10_000)
        if len(waveform) == 1:  # The encoder is opened or checked.
            return tokens
        while (self._folder / "wait").exists():
            (self._folder / "waits").touch()
            time.sleep(0.05)
        if self._is_asked_to("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        return tokens * np.float32("nan") if self._is_asked_to("nan") else tokens

    def _is_asked_to(self, what):
        try:
            (self._folder / what).unlink()
        except FileNotFoundError:
            return False
        return True
