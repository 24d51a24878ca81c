"""Saves the scores of a recording as they come, so that a stopped run can continue."""

from __future__ import annotations

import json
import logging
import os
import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.windows import RecordingEnd, RecordingFile
from unmute_jax.io import fitting, naming_disk_faults, write_atomically
from unmute_jax.results.typed_json import (
    DamagedFile,
    as_type,
    parse_object,
    read_object,
)
from unmute_jax.training.workdir import differences

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowScores:
    """The scores of one window.

    Attributes:
        start: The start of the window in seconds.
        end: The end of the window in seconds.
        scores: The score of each class, in [0, 1].
        bands: For each class the lowest and the highest frequency patch with the
            evidence; None if the probe cannot locate it.
        steps: The score of each class in each time step; None if the probe was not
            trained on time steps.
    """

    start: float
    end: float
    scores: Float[np.ndarray, "C"]
    bands: Int[np.ndarray, "C 2"] | None
    steps: Float[np.ndarray, "T C"] | None = None


class PartialResults:
    """The windows of one recording that have been scored so far, in order.

    The file has a line of JSON about the recording, a line per window, and a line
    about the end. A line that was not written completely is ignored, and a file with
    a damaged line is named and begun anew.

    Attributes:
        recording: The recording.
        windows: The scores of the windows so far.
        end: The end of the recording; None until it is reached.
        error: The error that prevents reaching the end; None if there is none.
    """

    def __init__(self, recording: RecordingFile, path: pathlib.Path | None = None):
        """Starts anew, or continues with the results in a file.

        Args:
            recording: The recording. If it has changed since the results were written,
                they are discarded.
            path: The file for the results; None to keep them in memory only.
        """
        self.recording = recording
        self.windows: list[WindowScores] = []
        self.end: RecordingEnd | None = None
        self.error: InputError | None = None
        self._path = path
        if path is not None:
            self._resume(path)

    def add(self, window: WindowScores) -> None:
        """Adds the next window, rounded to the digits that the file has."""
        line = _to_line(window)
        self.windows.append(_from_line(line))
        self._write(line)

    def finish(self, end: RecordingEnd) -> None:
        """Marks the recording as complete."""
        self.end = end
        about = {
            "seconds": end.seconds,
            "above": end.share_above,
            "cancels": end.channels_cancel,
        }
        self._write(about)

    def _resume(self, path: pathlib.Path) -> None:
        about = _describe(self.recording)
        # Whatever follows the last line break was being written when the run stopped.
        content = path.read_bytes() if path.exists() else b""
        complete = content[: content.rfind(b"\n") + 1]
        try:
            lines = [
                parse_object(line, f"{path}, line {number}: not scores of a window")
                for number, line in enumerate(complete.splitlines(), start=1)
            ]
            is_same = lines[:1] == [about]
            if is_same:
                self._take(lines[1:], path)
        except DamagedFile as error:
            _log.warning("%s: the recording is scored again", error)
            is_same = False
        if not is_same:
            write_atomically(path, json.dumps(about) + "\n")
        elif len(complete) < len(content):
            os.truncate(path, len(complete))

    def _take(self, lines: list[dict[str, Any]], path: pathlib.Path) -> None:
        """Takes over the lines of a file, the first excepted."""
        end, windows = None, list[WindowScores]()
        for number, line in enumerate(lines, start=2):
            try:
                if end is not None:
                    raise ValueError("it follows the end of the recording")
                if "seconds" in line:
                    end = RecordingEnd(
                        seconds=as_type(line["seconds"], float, "seconds"),
                        share_above=as_type(line["above"], float | None, "above"),
                        # Older files do not tell.
                        channels_cancel=line.get("cancels", False) is True,
                    )
                else:
                    windows.append(_from_line(line))
                    if windows[-1].scores.shape != windows[0].scores.shape:
                        raise ValueError("it has another number of scores")
            except (KeyError, TypeError, ValueError) as error:
                why = f"it has no {error}" if isinstance(error, KeyError) else error
                raise DamagedFile(
                    f"{path}, line {number}: not scores of a window ({why})"
                ) from error
        self.windows, self.end = windows, end

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with (
                naming_disk_faults(self._path),
                open(self._path, "a", encoding="utf-8") as file,
            ):
                file.write(json.dumps(line) + "\n")


def open_partial_results(
    recording: RecordingFile, folder: pathlib.Path | None
) -> PartialResults:
    """Opens the results of a recording in a folder, or in memory if it is None."""
    path = None if folder is None else fitting(folder / f"{recording.name}.jsonl")
    return PartialResults(recording, path)


def pin_settings(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """Writes `settings.json`, or checks that the existing file is the same.

    Raises:
        InputError: The folder holds results of another probe or of other windows.
    """
    path = folder / "settings.json"
    if not path.exists():
        write_atomically(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        existing = read_object(path, "the settings of predictions")
    except DamagedFile as error:
        raise InputError(f"{error}; use another --output") from None
    if differing := differences(existing, settings, "settings"):
        raise InputError(
            f"{folder}: holds other predictions ({'; '.join(differing)}); use another "
            "--output"
        )


def _describe(recording: RecordingFile) -> dict[str, Any]:
    """Distinguishes a file from a later one of the same name. It may be missing."""
    about: dict[str, Any] = {"recording": recording.name}
    if recording.path.is_file():
        stat = recording.path.stat()
        about |= {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
    return about


def _to_line(window: WindowScores) -> dict[str, Any]:
    line: dict[str, Any] = {
        "start": window.start,
        "end": window.end,
        "scores": [round(float(s), 6) for s in window.scores],
    }
    if window.bands is not None:
        line["bands"] = window.bands.tolist()
    if window.steps is not None:
        line["steps"] = [[round(float(s), 4) for s in step] for step in window.steps]
    return line


def _from_line(line: dict[str, Any]) -> WindowScores:
    start, end = (as_type(line[name], float, name) for name in ("start", "end"))
    scores, bands = _array(line["scores"], 1, "if"), line.get("bands")
    steps = line.get("steps")
    bands = None if bands is None else _array(bands, 2, "i")
    steps = None if steps is None else _array(steps, 2, "if")
    if bands is not None and bands.shape != (len(scores), 2):
        raise ValueError("it does not have two bands for each score")
    if steps is not None and steps.shape[1] != len(scores):
        raise ValueError("its time steps have another number of scores")
    for values in (scores, steps):
        if values is not None and not ((values >= 0) & (values <= 1)).all():
            raise ValueError("a score does not lie between 0 and 1")
    return WindowScores(
        start=start,
        end=end,
        scores=scores.astype(np.float32),
        bands=None if bands is None else bands.astype(np.int32),
        steps=None if steps is None else steps.astype(np.float32),
    )


def _array(values: Any, axes: int, kinds: str) -> np.ndarray:
    """An array of numbers that were read from JSON."""
    array = np.asarray(values)
    if array.ndim != axes or array.dtype.kind not in kinds:
        raise ValueError("something else stands in the place of numbers")
    return array
