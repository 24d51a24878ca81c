"""Makes the ESC-10 sample that comes with the package.

    python -m experiments.make_esc10_sample --input ESC10 --output SAMPLE

`ESC10` is a folder in the layout of ESC-50 with 16 kHz audio: `audio/`,
`meta/esc50.csv`, `meta/attribution.csv` (filename, title, author, url, licence).
`SAMPLE` is a new folder; that of the package is unmute_jax/assets/esc10. All clips but
those under the CC Sampling+ licence are encoded as Ogg Vorbis. Together with their
licences they stay below 8 MB. The encoder writes random stream numbers, so a second run
gives other bytes with the same sound.
"""

import argparse
import csv
import pathlib

import numpy as np
import soundfile as sf

from unmute_jax.audio.decode import read_audio
from unmute_jax.audio.resample import pad_or_crop

SAMPLE_RATE = 16_000
SAMPLES = 5 * SAMPLE_RATE
# 1 - quality of the Vorbis encoder; this is the best quality that fits into 8 MB.
COMPRESSION = 0.81
EXCLUDED_LICENCE = "CC-Sampling+"

LICENSE = """\
ESC-10, a subset of ESC-50: Dataset for Environmental Sound Classification
Author: Karol J. Piczak. Source: https://github.com/karolpiczak/ESC-50 and
https://dx.doi.org/10.7910/DVN/YDEPUT
Licence of the subset: Creative Commons Attribution 3.0 Unported (CC BY 3.0),
https://creativecommons.org/licenses/by/3.0/
Cite: K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of
the 23rd ACM Conference on Multimedia, 2015. DOI 10.1145/2733373.2806390

Title, author, address and licence of the recording behind each clip are in
meta/attribution.csv.

Changes made:
* {count} of the 400 clips are here. Left out, because their authors chose the CC
  Sampling+ licence: {left_out}.
* The clips were decoded from the original 44.1 kHz Ogg Vorbis (or WAV) files, cropped
  or zero-padded to 5 s, resampled to 16 kHz with soxr HQ, stored as 16-bit mono FLAC,
  and encoded from there as Ogg Vorbis (libsndfile, quality {quality:.2f}).
* File names keep the scheme of ESC-50 with the extension .ogg.
"""


def make_sample(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes the sample.

    Args:
        source: Folder of a copy of ESC-10.
        target: Folder to write the sample to; it must not exist.
    """
    clips = _rows(source / "meta/esc50.csv")
    credits = {row["filename"]: row for row in _rows(source / "meta/attribution.csv")}
    free = [c for c in clips if credits[c["filename"]]["licence"] != EXCLUDED_LICENCE]
    left_out = [pathlib.Path(c["filename"]).stem for c in clips if c not in free]
    (target / "audio").mkdir(parents=True)
    (target / "meta").mkdir()
    for clip in free:
        x, _ = read_audio(source / "audio" / clip["filename"], sample_rate=SAMPLE_RATE)
        _encode(
            target / "audio" / _renamed(clip)["filename"], pad_or_crop(x, SAMPLES)[0]
        )
    _write(target / "meta/esc50.csv", [_renamed(c) for c in free])
    _write(
        target / "meta/attribution.csv",
        [_renamed(credits[c["filename"]]) for c in free],
    )
    text = LICENSE.format(
        count=len(free), left_out=" and ".join(left_out), quality=1 - COMPRESSION
    )
    (target / "LICENSE.txt").write_text(text)


def _encode(path: pathlib.Path, x: np.ndarray) -> None:
    with sf.SoundFile(
        path,
        "w",
        SAMPLE_RATE,
        channels=1,
        format="OGG",
        subtype="VORBIS",
        compression_level=COMPRESSION,
    ) as file:
        # The Vorbis encoder overflows its stack if it gets a whole clip at once.
        for start in range(0, len(x), 4096):
            file.write(x[start : start + 4096])


def _renamed(row: dict[str, str]) -> dict[str, str]:
    return row | {"filename": str(pathlib.Path(row["filename"]).with_suffix(".ogg"))}


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: pathlib.Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Parses the arguments and makes the sample."""
    parser = argparse.ArgumentParser(
        description="Makes the ESC-10 sample that comes with the package."
    )
    parser.add_argument("--input", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    make_sample(arguments.input, arguments.output)


if __name__ == "__main__":
    main()
