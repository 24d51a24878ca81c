"""What was heard in a recording so far, on disk as it comes, so that it can go on."""

from __future__ import annotations

import json
import os
import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.windows import End, Recording
from unmute_jax.io import write_atomically
from unmute_jax.training.workdir import differences


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """One window.

    Attributes:
        start: In seconds; `end` likewise.
        scores: Per class, in [0, 1].
        bands: Per class the lowest and the highest frequency patch where the evidence
            is; None where the probe cannot tell.
    """

    start: float
    end: float
    scores: Float[np.ndarray, "C"]
    bands: Int[np.ndarray, "C 2"] | None


class Journal:
    """The windows of one recording that have been heard, in order.

    In a file it is a line of JSON about the recording, one per window, and one about
    the end; a line is there as a whole or it does not count.

    Attributes:
        recording: What was listened to.
        windows: What was heard.
        end: Length and more, once the recording has been heard to its end.
        error: Why that will not happen.
    """

    def __init__(self, recording: Recording, path: pathlib.Path | None = None):
        """Begins, or goes on with what is in `path`.

        Args:
            recording: If the file is no longer the same, its journal begins anew.
            path: Where to keep it; None, only in memory.
        """
        self.recording = recording
        self.windows: list[Heard] = []
        self.end: End | None = None
        self.error: InputError | None = None
        self._path = path
        if path is not None:
            self._resume(path)

    def add(self, window: Heard) -> None:
        """Takes the next window, with the digits that a file keeps of it."""
        line = _line(window)
        self.windows.append(_heard(line))
        self._write(line)

    def finish(self, end: End) -> None:
        """The recording has ended."""
        self.end = end
        self._write({"seconds": end.seconds, "above": end.above})

    def _resume(self, path: pathlib.Path) -> None:
        about = _about(self.recording)
        # What stands behind the last line break was being written when all stopped.
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        lines: list[Any] = [json.loads(line) for line in whole.splitlines()]
        if lines[:1] != [about]:
            write_atomically(path, json.dumps(about) + "\n")
            return
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        if "seconds" in lines[-1]:
            self.end = End(**lines.pop())
        self.windows = [_heard(line) for line in lines[1:]]

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def pin_settings(folder: pathlib.Path, ours: dict[str, Any]) -> None:
    """Writes `settings.json`, or makes sure that the one there says the same.

    Raises:
        InputError: It does not: the folder holds what another probe heard, or in
            other windows.
    """
    path = folder / "settings.json"
    if not path.exists():
        write_atomically(path, json.dumps(ours, indent=1) + "\n")
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    if differing := differences(theirs, ours, "settings"):
        raise InputError(
            f"{folder}: holds other predictions ({'; '.join(differing)}); use another "
            "--output"
        )


def _about(recording: Recording) -> dict[str, Any]:
    """What tells a file from a later one of the same name; it may not be there."""
    about: dict[str, Any] = {"recording": recording.name}
    if recording.path.is_file():
        stat = recording.path.stat()
        about |= {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
    return about


def _line(heard: Heard) -> dict[str, Any]:
    line: dict[str, Any] = {
        "start": heard.start,
        "end": heard.end,
        "scores": [round(float(s), 6) for s in heard.scores],
    }
    if heard.bands is not None:
        line["bands"] = heard.bands.tolist()
    return line


def _heard(line: dict[str, Any]) -> Heard:
    bands = line.get("bands")
    return Heard(
        start=line["start"],
        end=line["end"],
        scores=np.asarray(line["scores"], np.float32),
        bands=None if bands is None else np.asarray(bands, np.int32),
    )
