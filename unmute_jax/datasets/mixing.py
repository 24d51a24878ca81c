"""Mixtures of recorded sounds in the manner of URBAN-SED.

This is Scaper's recipe for URBAN-SED (Salamon et al., WASPAA 2017) with other sources:
Brownian noise with one to nine events, whose class and source are drawn uniformly.
Differs from the reference in setting levels by RMS instead of loudness units, and in
having no reverb, pitch shift or time stretch. Every mixture has its own generator, so
it can be made without the others.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from unmute_jax.datasets.clips import Event
from unmute_jax.errors import InputError

SAMPLE_RATE = 16_000
SECONDS = 10
NOISE_DBFS = -50.0
PEAK = 0.99

_SAMPLES = SECONDS * SAMPLE_RATE
_FADE = SAMPLE_RATE // 100
_FRAME = SAMPLE_RATE // 40
_QUIET_DB = -40.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """A source of mixtures.

    Attributes:
        label: Index of its class.
        waveform: Audio at `SAMPLE_RATE` without surrounding silence, shape `[S]`.
        digest: SHA-256 of its file.
    """

    label: int
    waveform: Float32[np.ndarray, " S"]
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixture.

    Attributes:
        waveform: 10 s of audio at `SAMPLE_RATE`, shape `[S]`; no sample exceeds `PEAK`.
        events: Its events in the order of their onsets.
        digest: SHA-256 of what was drawn and of the sources, so it is the same on
            machines whose arithmetic differs in the last bit.
    """

    waveform: Float32[np.ndarray, " S"]
    events: tuple[Event, ...]
    digest: str

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of the classes that occur, in ascending order."""
        return tuple(sorted({label for label, _, _ in self.events}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Draw:
    """What was drawn for one event; times are in samples."""

    label: int
    source: int
    onset: int
    samples: int
    snr_db: float


def trim(x: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, " R"]:
    """Cuts off silence at both ends, with which many clips are padded.

    Silence is what lies 40 dB below the loudest 25 ms.
    """
    frames = -(-len(x) // _FRAME)
    padded = np.zeros(frames * _FRAME, np.float32)
    padded[: len(x)] = x
    energy = np.square(padded).reshape(frames, _FRAME).sum(axis=1)
    loud = np.flatnonzero(energy > energy.max(initial=0.0) * 10 ** (_QUIET_DB / 10))
    if not len(loud):
        return x[:0]
    return x[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


class Mixer:
    """Makes the mixtures of one split.

    Args:
        sounds: The sources, which no other split may share.
        classes: Number of classes, each of which needs a source.
        seed: Seed of the data set.
        split: Index of the split.

    Raises:
        InputError: A class has no source.
    """

    def __init__(self, sounds: Sequence[Sound], *, classes: int, seed: int, split: int):
        self.sounds = [[s for s in sounds if s.label == c] for c in range(classes)]
        if absent := [c for c, of_class in enumerate(self.sounds) if not of_class]:
            raise InputError(f"there is nothing to mix of class {absent[0]}")
        self._seed = (seed, split)

    def mix(self, index: int) -> Mixture:
        """Makes the mixture of an index, independently of all others."""
        entropy = np.random.SeedSequence([*self._seed, index])
        rng = np.random.Generator(np.random.PCG64(entropy))
        events = [self._draw(rng, law=index % 3) for _ in range(rng.integers(1, 10))]
        events.sort(key=lambda event: event.onset)
        x = _brownian(rng)
        for event in events:
            x[event.onset : event.onset + event.samples] += self._cut(event)
        if (peak := np.abs(x).max()) > PEAK:
            # Clipping, instead of scaling, would mark the impulsive classes.
            x *= np.float32(PEAK) / peak
        return Mixture(
            waveform=x,
            events=tuple(
                (e.label, e.onset / SAMPLE_RATE, (e.onset + e.samples) / SAMPLE_RATE)
                for e in events
            ),
            digest=self._digest(index, events),
        )

    def _draw(self, rng: np.random.Generator, law: int) -> _Draw:
        label = int(rng.integers(len(self.sounds)))
        source = int(rng.integers(len(self.sounds[label])))
        wanted = round(rng.uniform(0.5, 4.0) * SAMPLE_RATE)
        samples = min(wanted, len(self.sounds[label][source].waveform))
        snr_db = rng.uniform(6.0, 30.0)
        onset = int(_onset(rng, law) * SAMPLE_RATE)
        return _Draw(
            label=label,
            source=source,
            onset=min(onset, _SAMPLES - samples),
            samples=samples,
            snr_db=snr_db,
        )

    def _cut(self, event: _Draw) -> np.ndarray:
        """Returns the beginning of a source at the drawn level, faded in and out."""
        source = self.sounds[event.label][event.source].waveform
        x = source[: event.samples].astype(np.float32)
        level = 10 ** ((NOISE_DBFS + event.snr_db) / 20)
        x *= np.float32(level / rms(x))
        n = min(_FADE, len(x) // 2)
        ramp = (np.arange(n, dtype=np.float32) + 0.5) / np.float32(n)
        x[:n] *= ramp
        x[len(x) - n :] *= ramp[::-1]
        return x

    def _digest(self, index: int, events: Sequence[_Draw]) -> str:
        drawn = [
            [self.sounds[e.label][e.source].digest, *dataclasses.astuple(e)]
            for e in events
        ]
        return hashlib.sha256(
            json.dumps([*self._seed, index, drawn]).encode()
        ).hexdigest()


def _onset(rng: np.random.Generator, law: int) -> float:
    """Draws an onset in seconds.

    Args:
        rng: The generator.
        law: 0 for a uniform onset, 1 for one around the middle, 2 for one around one of
            two times.
    """
    if law == 0:
        return rng.uniform(0.0, SECONDS)
    mean = 5.0 if law == 1 else (3.0, 7.0)[rng.integers(2)]
    while not 0.0 <= (onset := rng.normal(mean, 2.0)) < SECONDS:
        pass  # The normal distribution is truncated to the clip.
    return onset


def _brownian(rng: np.random.Generator) -> np.ndarray:
    """Returns noise with amplitudes in proportion to 1/f: a random walk around zero.

    Any white steps give that spectrum; uniform ones are the fastest to draw.
    """
    walk = np.cumsum(rng.random(_SAMPLES) - 0.5)
    walk -= walk.mean()
    walk *= 10 ** (NOISE_DBFS / 20) / rms(walk)
    return walk.astype(np.float32)


def rms(x: np.ndarray) -> float:
    """Returns the root mean square of a waveform."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
