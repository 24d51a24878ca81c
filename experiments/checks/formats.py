"""Decodes files of every format, and compares them with the signal that was written.

python -m experiments.checks.formats

The program prints the tables of `docs/formats.md`: how near to the signal the samples
are, as a whole and in blocks, and what is said of files that cannot be read in full. It
exits with code 1 if a format is read wrongly, or a damaged file is read without a word.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np

from experiments.checks.audio_files import FORMATS, AudioFormat, find_delay, snr
from experiments.checks.refused_files import REFUSED
from unmute_jax.audio.decode import AudioFile, read_audio
from unmute_jax.cli import program
from unmute_jax.errors import InputError


def main(_: list[str]) -> None:
    """Prints the tables."""
    is_right = True
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "FILE"
        print(
            "| format | rate, channels | SNR, dB | samples in front | samples behind | "
            "in blocks |\n|---|---|---:|---:|---:|---|"
        )
        for form in FORMATS:
            row, fits = measure(form, path)
            is_right &= fits
            print(row if fits else f"{row} <- wrong")
        print("\n| file | message |\n|---|---|")
        for name, make in REFUSED.items():
            path.write_bytes(make())
            try:
                read_audio(path)
                message, is_right = "<- is read", False
            except InputError as error:
                message = str(error).removeprefix(f"{folder}/")
            print(f"| {name} | `{message}` |")
    sys.exit(not is_right)


def measure(form: AudioFormat, path: pathlib.Path) -> tuple[str, bool]:
    """Decodes a file of a format.

    Args:
        form: The format.
        path: The file to write.

    Returns:
        The row of the table, and whether the format was read as it should be.
    """
    path.write_bytes(form.encode())
    x, rate = read_audio(path)
    with AudioFile(path) as file:
        blocks = np.concatenate(list(file.blocks()))
    is_same = np.array_equal(x, blocks) and file.sample_rate == rate
    signal = form.signal().mean(axis=1)
    delay = find_delay(signal, x)
    more = len(x) - delay - len(signal)
    decoded = x[delay:][: len(signal)]
    ratio = snr(signal[: len(decoded)], decoded)
    fits = (
        is_same
        and rate == form.rate
        and delay == form.delay
        and min(form.more, 0) <= more <= max(form.more, 0)
        and ratio >= form.snr
    )
    cells = (
        form.name,
        f"{rate / 1000:g} kHz, {form.channels}",
        "exact" if ratio == 999 else f"{ratio:.1f}",
        f"{delay}",
        f"{more}",
        "the same" if is_same else "other samples",
    )
    return f"| {' | '.join(cells)} |", fits


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
