"""A survey from annotations to detections, as docs/annotated_recordings.md shows it.

    python -m experiments.annotated_recordings --output SURVEY

Four sites of long recordings and an hour of a fifth site are mixed from clips of
ESC-10, by default from the sample that comes with the package, over a noise that every
site has for itself. What is mixed in is written as selection tables of Raven. Then the
commands of the page run: training that leaves out one site at a time, and detection in
the hour that no probe has heard, compared with its annotations. `--small` does the same
with seconds instead of minutes, to see that it works.

SURVEY will contain the recordings (`sites/`, `unseen/`), the run (`run/`) and the
detections of each probe (`detected/`).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import scipy.signal
import soundfile as sf

import unmute_jax
from unmute_jax.audio.decode import read_audio
from unmute_jax.datasets.annotations import raven
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.mixing import PEAK, rms, trim

SAMPLE_RATE = 16_000
SAMPLE = pathlib.Path(unmute_jax.__file__).parent / "assets" / "esc10"
PROBES = ("linear", "stats", "protobin")
# Levels of the events above the noise of their site, in decibels.
SNR_DB = (3.0, 25.0)
# Mean time in seconds from the beginning of one event to that of the next.
MEAN_GAP = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """A place with its noise, where only the clips of one fold of ESC-10 are heard.

    Attributes:
        name: The name of the site.
        fold: The fold of its clips. Folds share no source recording.
        level_dbfs: The level of the noise.
        colour: The factor of the last sample in the noise: 0 for white noise, near 1
            for noise with little above its lowest frequencies.
        hum_hz: The frequency of a hum in the noise; 0 for none.
    """

    name: str
    fold: int
    level_dbfs: float
    colour: float
    hum_hz: float


SITES = (
    Site(name="brook", fold=1, level_dbfs=-44.0, colour=0.0, hum_hz=0.0),
    Site(name="forest", fold=2, level_dbfs=-52.0, colour=0.7, hum_hz=0.0),
    Site(name="road", fold=3, level_dbfs=-42.0, colour=0.97, hum_hz=0.0),
    Site(name="yard", fold=4, level_dbfs=-48.0, colour=0.9, hum_hz=100.0),
)
UNSEEN = Site(name="meadow", fold=5, level_dbfs=-47.0, colour=0.8, hum_hz=0.0)


def read_clips(folder: pathlib.Path, fold: int) -> dict[str, list[np.ndarray]]:
    """Reads the sounds of a fold of ESC-10 without surrounding silence, by class."""
    sounds: dict[str, list[np.ndarray]] = {}
    with (folder / "meta" / "esc50.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["fold"]) == fold]
    for row in rows:
        path = folder / "audio" / row["filename"]
        x, _ = read_audio(path, sample_rate=SAMPLE_RATE)
        sounds.setdefault(row["category"], []).append(trim(x))
    return sounds


def make_recording(
    path: pathlib.Path,
    site: Site,
    sounds: dict[str, list[np.ndarray]],
    seconds: float,
    rng: np.random.Generator,
) -> None:
    """Mixes a recording and writes it, with its selection table beside it."""
    noise = rng.standard_normal(round(seconds * SAMPLE_RATE), np.float32)
    x = np.asarray(scipy.signal.lfilter([1.0], [1.0, -site.colour], noise), np.float32)
    x /= np.float32(rms(x))
    if site.hum_hz:
        t = np.arange(len(x)) / SAMPLE_RATE
        x += np.sin(2 * np.pi * site.hum_hz * t).astype(np.float32)
    x *= np.float32(10 ** (site.level_dbfs / 20) / rms(x))
    events: list[SoundEvent] = []
    onset = rng.exponential(MEAN_GAP)
    while onset < seconds - 1:
        label = sorted(sounds)[rng.integers(len(sounds))]
        sound = sounds[label][rng.integers(len(sounds[label]))]
        first = round(onset * SAMPLE_RATE)
        sound = sound[: len(x) - first]
        level = 10 ** ((site.level_dbfs + rng.uniform(*SNR_DB)) / 20)
        x[first : first + len(sound)] += sound * np.float32(level / rms(sound))
        offset = (first + len(sound)) / SAMPLE_RATE
        events.append(SoundEvent(onset=onset, offset=offset, label=label))
        onset += rng.exponential(MEAN_GAP)
    path.parent.mkdir(parents=True, exist_ok=True)
    x *= np.float32(PEAK / max(PEAK, np.abs(x).max()))
    sf.write(path, x, SAMPLE_RATE)
    path.with_suffix(".Table.1.selections.txt").write_text(raven.write(events))


def make_survey(clips: pathlib.Path, folder: pathlib.Path, minutes: float) -> None:
    """Makes the recordings.

    Args:
        clips: A folder in the layout of ESC-50.
        folder: The folder of the survey.
        minutes: The length of a recording at the four sites, of which there are two
            each; the recording of the fifth site is three times as long.
    """
    for k, site in enumerate((*SITES, UNSEEN)):
        sounds = read_clips(clips, site.fold)
        rng = np.random.default_rng(k)
        if site is UNSEEN:
            path = folder / "unseen" / f"{site.name}.flac"
            make_recording(path, site, sounds, 3 * 60 * minutes, rng)
            continue
        for day in (1, 2):
            path = folder / "sites" / site.name / f"day{day}.flac"
            make_recording(path, site, sounds, 60 * minutes, rng)


def commands(folder: pathlib.Path, small: bool) -> list[list[str]]:
    """The commands of the page, each without `unmute`; with `small`, of one probe."""
    probes = PROBES[-1:] if small else PROBES
    train = [
        *("train", "--config", "quickstart", f"--workdir={folder}/run"),
        f"--config.dataset=annotations:{folder}/sites",
        "--config.dataset_options.hop=2.5",
        "--config.dataset_options.folds=groups",
        f"--config.probes={','.join(probes)}",
    ]
    if small:
        train += ["--config.epochs=1", "--config.seeds=1", "--config.eval_every=1"]
        train += ["--config.dataset_options.test_fold=1"]
        train += ["--config.optimizer.learning_rates=0.03"]
    predict = [
        [
            *("predict", f"--workdir={folder}/run", f"--probe={probe}"),
            *(f"{folder}/unseen", f"--against={folder}/unseen"),
            *("--thresholds=validation", f"--output={folder}/detected/{probe}"),
            *(["--plot"] if probe == "protobin" and not small else []),
        ]
        for probe in probes
    ]
    return [train, *predict]


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the survey and runs the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--clips", type=pathlib.Path, default=SAMPLE)
    parser.add_argument("--small", action="store_true")
    chosen = parser.parse_args(arguments)
    make_survey(chosen.clips, chosen.output, 0.5 if chosen.small else 20.0)
    for command in commands(chosen.output, chosen.small):
        print(f"\n$ unmute {shlex.join(command)}", flush=True)
        subprocess.run(
            [sys.executable, "-m", "unmute_jax.cli.main", *command], check=True
        )


if __name__ == "__main__":
    main()
