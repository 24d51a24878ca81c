"""Checks whether the tokens of an encoder lie where its geometry says they do.

Bursts of noise, tones and chirps are added to a little noise, one at a time. Each must
change the tokens most at its own time and frequency. What counts is how much a sound
changes a place in comparison with the other sounds. So this works for networks that mix
all places, trained or not, as long as each token tells more of its own place than of
others. Where it does not, the finding says that nothing can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from unmute_jax.encoders import Encoder
from unmute_jax.tokens import Tokens

PASS, FAIL, NOTE = "PASS", "FAIL", "NOTE"
# Amplitudes of the sounds, and of the noise to which they are added. In less noise, a
# tone changes the logarithms of all bands.
LOUD, BACKGROUND = 0.5, 0.03
# Number of bursts, and the most bands that are tried.
SOUNDS = 8
# Tones for each band.
TONES = 7
# Clips per call, so that one compiled program serves all.
BATCH = 4
# Fewer time steps tell nothing about their order.
FEW = 4
# Contrasts (see `Seen`) from which a reversed order counts as one, and any other order
# of bands and of steps, between which it is larger. Networks that mix all places at
# random stay below.
REVERSED, OTHER_BANDS, OTHER_STEPS = 0.2, 0.5, 1.0
# Share of the sounds that must be seen where they are.
ENOUGH = 0.75
# How much longer a second clip is, whose number of steps tells their length exactly.
LONGER = 8


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        verdict: PASS, FAIL or NOTE.
        check: Name of the check.
        value: Description for the user.
    """

    verdict: str
    check: str
    value: str


class Listener(NamedTuple):
    """An encoder and the clip to which sounds are added.

    Attributes:
        encoder: The encoder.
        encode: Computes the tokens of a batch of clips, on the host.
        noise: Noise as long as the input of the encoder, at its sample rate.
        length: Number of samples that belong to the clip.
    """

    encoder: Encoder
    encode: Callable[[np.ndarray, np.ndarray], Tokens]
    noise: Float[np.ndarray, " S"]
    length: int

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return self.length / self.encoder.sample_rate

    @property
    def times(self) -> Float[np.ndarray, " S"]:
        """Time of each sample, in seconds."""
        return np.arange(len(self.noise)) / self.encoder.sample_rate

    def changes(
        self, sounds: list[Float[np.ndarray, " S"]]
    ) -> Float[np.ndarray, "K T F"]:
        """Returns how much each of K sounds changes each token of the clip."""
        is_clip = np.arange(len(self.noise)) < self.length
        clips = [self.noise, *(self.noise + LOUD * sound * is_clip for sound in sounds)]
        rows = -(-len(clips) // BATCH) * BATCH
        clips += [clips[-1]] * (rows - len(clips))
        waveforms = np.stack(clips).astype(np.float32)
        lengths = np.full(BATCH, self.length, np.int32)
        patches = np.concatenate(
            [
                self.encode(waveforms[k : k + BATCH], lengths).patches
                for k in range(0, rows, BATCH)
            ]
        )
        return np.linalg.norm(patches[1 : 1 + len(sounds)] - patches[:1], axis=-1)


class Seen(NamedTuple):
    """Where sounds are seen along one axis of the tokens.

    Attributes:
        places: The place (step or band) that each sound changes most.
        contrast: How much more, in units of its mean change; the median over sounds.
    """

    places: Float[np.ndarray, " K"]
    contrast: float


def check_geometry(
    encoder: Encoder, clip_seconds: float, steps: int, samples: int
) -> Iterator[Finding]:
    """Checks the geometry against the numbers of steps and bands.

    Args:
        encoder: The encoder.
        clip_seconds: Length of the test clips in seconds.
        steps: Their number of time steps.
        samples: The length of their input in samples.
    """
    step = encoder.geometry.seconds_per_step
    seconds = samples / encoder.sample_rate
    text = f"{steps} steps of {step:g} s cover {steps * step:.4g} s of {seconds:.4g} s"
    right = f"seconds_per_step of {seconds / steps:.4g} would fit"
    if abs(steps * step - seconds) > 2 * step:
        yield Finding(FAIL, "time", f"{text}: {right}")
    else:
        yield _longer(encoder, clip_seconds, steps, samples, text)
    edges, highest = encoder.geometry.frequency_edges_hz, encoder.sample_rate / 2
    text = f"{len(edges)} bands, {edges[0][0]:.4g} to {edges[-1][1]:.4g} Hz"
    if sorted(edges) == list(edges) and all(0 <= a < b <= highest for a, b in edges):
        yield Finding(PASS, "frequency", text)
    else:
        yield Finding(
            FAIL, "frequency", f"{text}: must ascend and end at {highest:g} Hz or below"
        )


def _longer(
    encoder: Encoder, clip_seconds: float, steps: int, samples: int, text: str
) -> Finding:
    """Compares the further steps of a longer clip with their stated length."""
    step = encoder.geometry.seconds_per_step
    try:
        more = encoder.grid(LONGER * clip_seconds)[0] - steps
        longer = encoder.input_samples(LONGER * clip_seconds) - samples
    except Exception:  # The code of a custom encoder may raise anything.
        return Finding(PASS, "time", text)
    seconds = longer / encoder.sample_rate
    if more <= 0 or abs(more * step - seconds) <= 1.5 * step:
        return Finding(PASS, "time", text)
    text = f"{more} more steps of {step:g} s cover {more * step:.4g} s of {seconds:.4g}"
    right = f"{text} s: seconds_per_step of {seconds / more:.4g} would fit"
    is_small = abs(more * step / seconds - 1) <= 0.005
    return Finding(NOTE if is_small else FAIL, "time", right)


def check_places(
    listener: Listener, *, time: bool = True, frequency: bool = True
) -> Iterator[Finding]:
    """Checks whether sounds change the tokens at their own time and frequency most.

    Args:
        listener: The encoder and its clip.
        time: Whether to check the order of time steps.
        frequency: Whether to check the order of bands.
    """
    bands = len(listener.encoder.geometry.frequency_edges_hz)
    findings = list[Finding]()
    if time:
        findings.append(_check_time(listener))
    if frequency and bands > 1:
        findings.append(_check_bands(listener))
    yield from findings
    # Chirps would only repeat what one of these has found.
    if bands > 1 and not any(f.verdict == FAIL for f in findings):
        yield _check_chirps(listener)


def _check_time(listener: Listener) -> Finding:
    check, step = "place in time", listener.encoder.geometry.seconds_per_step
    end = listener.seconds
    sent, width = (np.arange(SOUNDS) + 0.5) / SOUNDS * end, max(step, 0.02 * end)
    noise = np.random.default_rng(1).standard_normal(len(listener.noise))
    changes = listener.changes(
        [noise * (np.abs(listener.times - at) < width / 2) for at in sent]
    )
    if changes.shape[1] < FEW:
        return Finding(NOTE, check, f"cannot tell: {changes.shape[1]} time steps only")
    # An encoder may leave out the end of a clip.
    strength = changes.mean((1, 2))
    is_heard = strength > 0.01 * np.median(strength)
    if is_heard.sum() < FEW:
        return Finding(NOTE, check, "cannot tell: most bursts change nothing")
    changes, sent = changes[is_heard], sent[is_heard]
    seen, expected = _seen(changes.mean(2), precisely=True), sent / step - 0.5
    at = ", ".join(f"{x:.3g}" for x in sent)
    most = ", ".join(f"{x:.3g}" for x in (seen.places + 0.5) * step)
    text = f"bursts at {at} s change the tokens most at {most} s"
    # How many steps there are for each that is stated.
    pace = float(np.polyfit(expected, seen.places, 1)[0])
    tolerance = 2 * max(step, 0.05 * end)
    is_near = np.abs(seen.places - expected) * step <= tolerance
    agreement = _correlation(expected, seen.places)
    if is_near.sum() >= ENOUGH * SOUNDS or (
        agreement > 0.9 and seen.contrast >= OTHER_STEPS
    ):
        if abs(pace - 1) > max(0.03, 1 / np.ptp(expected)):
            text = f"{text}: steps seem to last {step / pace:.2g} s"
            return Finding(FAIL, check, text)
        return Finding(PASS if is_near.mean() >= ENOUGH else FAIL, check, text)
    by_band = _seen(changes.mean(1))
    if abs(_correlation(expected, by_band.places)) > 0.8:
        seen = by_band if by_band.contrast >= OTHER_STEPS else seen
    return _misplaced(
        check, text, seen, agreement, "the last step comes first", OTHER_STEPS
    )


def _check_bands(listener: Listener) -> Finding:
    check, edges = "place in frequency", listener.encoder.geometry.frequency_edges_hz
    f = len(edges)
    bands = np.unique(np.linspace(0, f - 1, min(f, SOUNDS)).round().astype(int))
    # With few bands several chords each, so that one of them alone decides nothing.
    parts = 2 if f <= SOUNDS // 2 else 1
    bands = np.repeat(bands, parts)
    low, high = np.array(edges).T
    width = (high - low)[bands] / parts
    lowest = low[bands] + width * np.resize(np.arange(parts), len(bands))
    changes = listener.changes(
        [_chord(listener.times, *band) for band in zip(lowest, width, strict=True)]
    )
    seen = _seen(changes.mean(1))
    centres = (low + high)[seen.places.astype(int)] / 2
    at, most = (
        ", ".join(f"{x:.3g}" for x in xs) for xs in (lowest + width / 2, centres)
    )
    text = f"tones around {at} Hz change the tokens most at {most} Hz"
    tolerance = 0 if f < SOUNDS else 1
    if np.mean(np.abs(seen.places - bands) <= tolerance) >= ENOUGH:
        return Finding(PASS, check, text)
    agreement = _correlation(bands, seen.places)
    reverse = "the highest band comes first"
    return _misplaced(check, text, seen, agreement, reverse, OTHER_BANDS)


def _chord(times: Float[np.ndarray, " S"], lowest: float, width: float) -> np.ndarray:
    """Tones all over a band, as a single one may lie between two filters."""
    shares = np.linspace(0.1, 0.9, TONES)
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, TONES)
    turns = times[:, None] * (lowest + shares * width) + phases / (2 * np.pi)
    return np.sin(2 * np.pi * turns).sum(1) / np.sqrt(TONES)


def _check_chirps(listener: Listener) -> Finding:
    check, geometry = "chirps", listener.encoder.geometry
    centres = np.mean(geometry.frequency_edges_hz, axis=1)
    # From the centre of the lowest band to that of the highest, band by band.
    place = np.clip(listener.times / listener.seconds, 0, 1) * (len(centres) - 1)
    hz = np.interp(place, np.arange(len(centres)), centres)
    back = np.interp(len(centres) - 1 - place, np.arange(len(centres)), centres)
    turns = [np.cumsum(x) / listener.encoder.sample_rate for x in (hz, back)]
    rising, falling = listener.changes([np.sin(2 * np.pi * x) for x in turns])
    if len(rising) < FEW:
        return Finding(NOTE, check, f"cannot tell: {len(rising)} time steps only")
    times = (np.arange(len(rising)) + 0.5) * geometry.seconds_per_step
    is_clip = times < listener.seconds
    share = times[is_clip] / listener.seconds
    seen = _seen(np.concatenate([rising[is_clip], falling[is_clip]]))
    agreement = _correlation(np.concatenate([share, 1 - share]), seen.places)
    text = f"bands follow them with a correlation of {agreement:.2f}"
    if agreement >= 0.5:
        return Finding(PASS, check, text)
    reverse = "bands or steps are in reverse"
    return _misplaced(check, text, seen, agreement, reverse, np.inf)


def _misplaced(
    check: str, text: str, seen: Seen, agreement: float, reverse: str, clear: float
) -> Finding:
    """The finding for sounds that are not seen where they are.

    Args:
        check: Name of the check.
        text: What was found.
        seen: Places at which the sounds are seen.
        agreement: The correlation of these places with those of the sounds.
        reverse: What is said where they are in reverse.
        clear: The contrast from which any other order is a fault.
    """
    if agreement < -0.8 and seen.contrast >= REVERSED:
        return Finding(FAIL, check, f"{text}: {reverse}")
    if seen.contrast >= clear:
        order = "are patches in the order [time, frequency]?"
        return Finding(FAIL, check, f"{text}: {order}")
    why = "cannot tell, as tokens hardly differ by place"
    return Finding(NOTE, check, f"{why}: {text}")


def _seen(responses: Float[np.ndarray, "K P"], *, precisely: bool = False) -> Seen:
    """Finds the place that each sound changes most in comparison with other sounds.

    Args:
        responses: How much each of K sounds changes each of P places.
        precisely: Whether places may lie between two steps.
    """
    relative = responses / np.maximum(responses.mean(1, keepdims=True), 1e-30)
    relative = relative - relative.mean(0)
    places = relative.argmax(1).astype(float)
    peaks = relative.max(1)
    if precisely:
        around = np.arange(relative.shape[1]) - places[:, None]
        weights = np.maximum(relative, 0) * (np.abs(around) <= 1)
        places = places + (weights * around).sum(1) / np.maximum(weights.sum(1), 1e-30)
    return Seen(places, float(np.median(peaks)))


def _correlation(
    a: Float[np.ndarray, " K"] | Int[np.ndarray, " K"], b: Float[np.ndarray, " K"]
) -> float:
    """Pearson's correlation; 0 where one of both is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
