"""Mixtures of recorded sounds in the manner of URBAN-SED.

Scaper's recipe for URBAN-SED (Salamon et al., WASPAA 2017) on other sources: Brownian
noise with one to nine events, of a class and a source drawn uniformly. Differs from it
in levels by RMS instead of loudness units, and in having no reverb, pitch shift or time
stretch. Every clip has a generator of its own, so it can be made alone.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

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
    """What a mixture is made of.

    Attributes:
        label: Its class.
        waveform: `[S]` at `SAMPLE_RATE`, without the silence around it.
        digest: SHA-256 of the file it comes from.
    """

    label: int
    waveform: Float[np.ndarray, " S"]
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixed clip.

    Attributes:
        waveform: `[10 s]` at `SAMPLE_RATE`, with no sample beyond `PEAK`.
        events: (class, onset, offset) in seconds, by onset.
        digest: SHA-256 of what was drawn and of the sources, so it is the same on
            machines whose arithmetic differs in the last bit.
    """

    waveform: Float[np.ndarray, " S"]
    events: tuple[tuple[int, float, float], ...]
    digest: str

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes that occur."""
        return tuple(sorted({label for label, _, _ in self.events}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Event:
    label: int
    source: int
    onset: int
    samples: int
    snr_db: float


def trim(x: Float[np.ndarray, " S"]) -> Float[np.ndarray, " R"]:
    """Cuts off what is 40 dB below the loudest 25 ms at both ends; many are padded."""
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
        sounds: The sources; those of other splits must be others.
        classes: Number of classes; each needs a source.
        seed: Of the data set.
        split: Number of the split.
    """

    def __init__(self, sounds: Sequence[Sound], *, classes: int, seed: int, split: int):
        self.sounds = [[s for s in sounds if s.label == c] for c in range(classes)]
        if lacking := [c for c, found in enumerate(self.sounds) if not found]:
            raise InputError(f"there is nothing to mix of class {lacking[0]}")
        self._seed = (seed, split)

    def mix(self, index: int) -> Mixture:
        """The clip of this index; depends on no other clip."""
        entropy = np.random.SeedSequence([*self._seed, index])
        rng = np.random.Generator(np.random.PCG64(entropy))
        events = [self._draw(rng, law=index % 3) for _ in range(rng.integers(1, 10))]
        events.sort(key=lambda event: event.onset)
        x = _brownian(rng)
        for event in events:
            x[event.onset : event.onset + event.samples] += self._cut(event)
        if (peak := np.abs(x).max()) > PEAK:
            # All of it: clipping would mark the impulsive classes.
            x *= np.float32(PEAK) / peak
        return Mixture(
            waveform=x,
            events=tuple(
                (e.label, e.onset / SAMPLE_RATE, (e.onset + e.samples) / SAMPLE_RATE)
                for e in events
            ),
            digest=self._digest(index, events),
        )

    def _draw(self, rng: np.random.Generator, law: int) -> _Event:
        label = int(rng.integers(len(self.sounds)))
        source = int(rng.integers(len(self.sounds[label])))
        wanted = round(rng.uniform(0.5, 4.0) * SAMPLE_RATE)
        samples = min(wanted, len(self.sounds[label][source].waveform))
        snr_db = rng.uniform(6.0, 30.0)
        onset = int(_onset(rng, law) * SAMPLE_RATE)
        return _Event(
            label=label,
            source=source,
            onset=min(onset, _SAMPLES - samples),
            samples=samples,
            snr_db=snr_db,
        )

    def _cut(self, event: _Event) -> np.ndarray:
        """The first samples of the source, at the drawn level, faded in and out."""
        source = self.sounds[event.label][event.source].waveform
        x = source[: event.samples].astype(np.float32)
        level = 10 ** ((NOISE_DBFS + event.snr_db) / 20)
        x *= np.float32(level / _rms(x))
        n = min(_FADE, len(x) // 2)
        ramp = (np.arange(n, dtype=np.float32) + 0.5) / np.float32(n)
        x[:n] *= ramp
        x[len(x) - n :] *= ramp[::-1]
        return x

    def _digest(self, index: int, events: Sequence[_Event]) -> str:
        drawn = [
            [self.sounds[e.label][e.source].digest, *dataclasses.astuple(e)]
            for e in events
        ]
        return hashlib.sha256(
            json.dumps([*self._seed, index, drawn]).encode()
        ).hexdigest()


def _onset(rng: np.random.Generator, law: int) -> float:
    """An onset in seconds: uniform, around the middle, or around one of two times."""
    if law == 0:
        return rng.uniform(0.0, SECONDS)
    mean = 5.0 if law == 1 else (3.0, 7.0)[rng.integers(2)]
    while not 0.0 <= (onset := rng.normal(mean, 2.0)) < SECONDS:
        pass  # A normal distribution, truncated to the clip.
    return onset


def _brownian(rng: np.random.Generator) -> np.ndarray:
    """Noise with amplitudes in proportion to 1/f: a random walk around zero.

    The spectrum asks of the steps that they be white, so the quickest ones will do.
    """
    walk = np.cumsum(rng.random(_SAMPLES) - 0.5)
    walk -= walk.mean()
    walk *= 10 ** (NOISE_DBFS / 20) / _rms(walk)
    return walk.astype(np.float32)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
