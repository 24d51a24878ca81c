"""Damaged audio files for `fuzz`: samples, or one clear line."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import numpy as np

from experiments.checks.audio_files import FORMATS
from experiments.checks.fuzz_cases import REFUSED, Case
from experiments.checks.mutations import mutate
from unmute_jax.audio.decode import AudioFile, read_audio
from unmute_jax.errors import InputError

Read = tuple[np.ndarray, int]


@functools.cache
def _files() -> tuple[bytes, ...]:
    return tuple(form.encode() for form in FORMATS)


def prepare() -> None:
    """Writes the undamaged files."""
    _files()


def make(rng: np.random.Generator) -> Case:
    """Makes a damaged file.

    Args:
        rng: The source of all choices.
    """
    chosen = int(rng.integers(len(FORMATS)))
    mutation, data = mutate(_files(), chosen, rng)
    # Most formats of sound have no checksums.
    return Case(
        kind=FORMATS[chosen].name,
        mutation=mutation,
        files={"file": data},
        may_differ=True,
    )


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Decodes a file as a whole and in blocks.

    Args:
        folder: Folder of the file.
        kind: The name of its format before it was damaged.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: The two ways disagree, or the error is not one line.
    """
    path = folder / "file"
    whole, stream = _outcome(_read, path), _outcome(_stream, path)
    if isinstance(whole, str) or isinstance(stream, str):
        assert isinstance(whole, str), f"{stream!r} in blocks, and read as a whole"
        assert isinstance(stream, str), f"{whole!r} as a whole, and read in blocks"
        # Of a file with two faults, either way may come to another one first.
        problems = [message.partition(" (")[0] for message in (whole, stream)]
        assert len(set(problems)) == 1, f"{whole!r} as a whole, {stream!r} in blocks"
        return REFUSED
    (x, rate), (y, other_rate) = whole, stream
    assert rate == other_rate, f"{rate} Hz as a whole, {other_rate} Hz in blocks"
    assert np.array_equal(x, y), "other samples as a whole than in blocks"
    (form,) = (form for form in FORMATS if form.name == kind)
    shorter = len(x) / rate < 0.9 * len(form.signal()) / form.rate
    return "fewer samples" if shorter else "all samples"


def _outcome(read: Callable[[pathlib.Path], Read], path: pathlib.Path) -> Read | str:
    try:
        return read(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), f"{message!r} does not name the file"
        assert message.isprintable(), f"{message!r} is more than one line"
        return message


def _read(path: pathlib.Path) -> Read:
    return read_audio(path)


def _stream(path: pathlib.Path) -> Read:
    with AudioFile(path) as file:
        return np.concatenate(list(file.blocks())), file.sample_rate
