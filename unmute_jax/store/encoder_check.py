"""Does an encoder keep its promises? One minute of calls, one finding each.

What FAILs would spoil results without a word: tokens that depend on the other clips of
a batch, that change from call to call, that are not finite or lie elsewhere than the
geometry says. A NOTE is a property to know. `python -m experiments.check_encoder`
prints the findings.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.tokens import Tokens

PASS, FAIL, NOTE = "PASS", "FAIL", "NOTE"
# Differences are in standard deviations of the tokens: what float32 leaves, and what
# half precision and the bfloat16 of token stores do.
ROUNDING, HALF_PRECISION = 1e-4, 2e-2
NOISE, LOUD, QUIET = 0.1, 0.5, 1e-3
# Where in time and frequency sounds are put, as shares of the whole.
AT = np.array([0.2, 0.5, 0.8])


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        verdict: PASS, FAIL or NOTE.
        check: Its name.
        value: For a person.
    """

    verdict: str
    check: str
    value: str


def check_encoder(
    load: Callable[[], Encoder], clip_seconds: float = 5.0
) -> Iterator[Finding]:
    """All findings, each as soon as it is there.

    Args:
        load: Makes the encoder; called twice, to see whether it is the same again.
        clip_seconds: Length of the clips it is tried on.

    Raises:
        InputError: `load` does, the first time; or half such a clip is too short.
    """
    start = time.monotonic()
    encoder = load()
    least = 2 * encoder.min_samples / encoder.sample_rate
    if clip_seconds < least:
        raise InputError(
            f"{encoder.name} is tried on clips of at least {least:g} s, not "
            f"{clip_seconds:g}"
        )
    seconds = time.monotonic() - start
    yield Finding(NOTE, "encoder", f"{encoder.description}; licence {encoder.licence}")
    try:
        trial = _Trial.of(encoder, clip_seconds)
    except InputError as error:
        yield Finding(FAIL, "tokens", str(error))
        return
    shape = " x ".join(map(str, trial.tokens.patches.shape[1:]))
    yield Finding(PASS, "tokens", f"{shape} per clip of {clip_seconds:g} s")
    yield _identity(trial)
    yield from _geometry(trial)
    # What compares tokens says nothing where they are no numbers, or chance.
    for check in (_finite, _repeats):
        yield (found := check(trial))
        if found.verdict == FAIL:
            break
    else:
        yield _alone(trial)
        yield _loaded_again(trial, load)
        yield from _padding(trial)
        yield from _places(trial)
    yield from _costs(trial, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """An encoder, four clips as the pipeline delivers them, and their tokens.

    The clips are noise, loud noise, quiet noise of half the length, and silence.
    """

    encoder: Encoder
    clip_seconds: float
    waveform: Float[np.ndarray, "4 S"]
    lengths: Int[np.ndarray, "4"]
    tokens: Tokens

    @classmethod
    def of(cls, encoder: Encoder, clip_seconds: float) -> _Trial:
        samples = encoder.input_samples(clip_seconds)
        whole = min(samples, round(clip_seconds * encoder.sample_rate))
        lengths = np.array([whole, whole, whole // 2, whole], np.int32)
        noise = np.random.default_rng(0).standard_normal((4, samples), np.float32)
        waveform = noise * np.array([[NOISE], [LOUD], [QUIET], [0]], np.float32)
        waveform[np.arange(samples) >= lengths[:, None]] = 0
        announced = encoder.grid(clip_seconds)
        tokens = jax.device_get(encoder(waveform, lengths))
        grid = tokens.patches.shape[1:]
        if grid != (*announced, encoder.num_features):
            raise InputError(
                f"{encoder.name} gives a grid {grid} but announces "
                f"{(*announced, encoder.num_features)}"
            )
        return cls(encoder, clip_seconds, waveform, lengths, tokens)

    def encode(self, waveform: np.ndarray, lengths: np.ndarray) -> Tokens:
        """Tokens on the host."""
        return jax.device_get(self.encoder(waveform, lengths))

    def apart(self, a: Tokens, b: Tokens) -> float:
        """The largest difference of any number, in standard deviations of all."""
        with np.errstate(invalid="ignore"):  # Infinity - infinity: NaN tells enough.
            worst = max(
                float(np.abs(x - y).max())
                for x, y in ((a.patches, b.patches), (a.cls, b.cls))
            )
            spread = float(np.std(self.tokens.patches))
        return worst / max(spread, 1e-30)


def _rows(tokens: Tokens, rows: slice) -> Tokens:
    return jax.tree.map(lambda x: x[rows], tokens)


def _judged(check: str, apart: float, value: str, wrong: str) -> Finding:
    """A finding for two results that should be the same."""
    if apart == 0:
        return Finding(PASS, check, f"{value}, bit for bit")
    text = f"{value}, up to {apart:.1e} of the spread of the tokens"
    if apart <= ROUNDING:
        return Finding(PASS, check, text)
    if apart <= HALF_PRECISION:
        return Finding(NOTE, check, f"{text}: half precision?")
    # Not "<=" either: NaN.
    return Finding(FAIL, check, f"{wrong}: {apart:.1e} of the spread of the tokens")


# What every encoder must do


def _finite(trial: _Trial) -> Finding:
    names = ("noise", "loud noise", "quiet noise", "silence")
    bad = [
        name
        for name, x, cls in zip(
            names, trial.tokens.patches, trial.tokens.cls, strict=True
        )
        if not (np.isfinite(x).all() and np.isfinite(cls).all())
    ]
    if bad:
        return Finding(FAIL, "finite", f"NaN or infinity for {' and '.join(bad)}")
    return Finding(PASS, "finite", f"for {', '.join(names)}")


def _repeats(trial: _Trial) -> Finding:
    again = trial.encode(trial.waveform, trial.lengths)
    return _judged(
        "deterministic",
        trial.apart(trial.tokens, again),
        "a second call gives the same",
        "a second call gives other tokens (is dropout on?)",
    )


def _alone(trial: _Trial) -> Finding:
    apart = [
        trial.apart(
            _rows(trial.tokens, slice(i, i + 1)),
            trial.encode(trial.waveform[i : i + 1], trial.lengths[i : i + 1]),
        )
        for i in range(len(trial.waveform))
    ]
    return _judged(
        "batched = single",
        float(np.max(apart)),
        "a clip has the same tokens alone and in a batch",
        "the other clips of a batch change the tokens of a clip",
    )


def _identity(trial: _Trial) -> Finding:
    try:
        json.dumps(trial.encoder.identity())
    except TypeError as error:
        return Finding(FAIL, "identity", f"cannot be written as JSON: {error}")
    return Finding(PASS, "identity", f"weights: {trial.encoder.weights}")


def _loaded_again(trial: _Trial, load: Callable[[], Encoder]) -> Finding:
    check = "loaded again"
    try:
        other = load()
        if other.identity() != trial.encoder.identity():
            return Finding(
                FAIL, check, "has another identity: kept tokens would not be found"
            )
        tokens = jax.device_get(other(trial.waveform, trial.lengths))
    except InputError as error:
        return Finding(FAIL, check, str(error))
    return _judged(
        check,
        trial.apart(trial.tokens, tokens),
        "gives the same tokens",
        "gives other tokens under the same identity (weights without a seed?)",
    )


# What to know


def _padding(trial: _Trial) -> Iterator[Finding]:
    samples = trial.waveform.shape[1]
    length = trial.lengths[:1] // 2
    is_clip = np.arange(samples) < length[0]
    padded = np.where(is_clip, trial.waveform[:1], np.float32(0))
    tokens = trial.encode(padded, length)
    behind = trial.encode(np.where(is_clip, padded, np.float32(LOUD)), length)
    apart = trial.apart(tokens, behind)
    if apart == 0:
        yield Finding(PASS, "behind a clip", "nothing is read there")
    else:
        text = f"sound there changes tokens by {apart:.1e} of their spread"
        yield Finding(NOTE, "behind a clip", f"{text}; the pipeline puts zeros there")
    yield _silence(trial, padded, tokens, length)
    steps, kept = trial.tokens.patches.shape[1], int(np.sum(tokens.mask))
    masked = f"{kept} of {steps} time steps of a clip of half the length are real"
    text = "all time steps count, padding too" if kept == steps else masked
    yield Finding(NOTE, "mask", text)


def _silence(
    trial: _Trial, padded: np.ndarray, tokens: Tokens, length: np.ndarray
) -> Finding:
    check = "padding"
    try:
        alone = trial.encode(padded[:, : length[0]], length).patches
    except Exception as error:  # Whatever its own code raises.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return Finding(NOTE, check, f"takes one length of input only ({reason:.100})")
    t = min(alone.shape[1], tokens.patches.shape[1])
    a, b = (
        dataclasses.replace(tokens, patches=x[:, :t], mask=tokens.mask[:, :t])
        for x in (alone, tokens.patches)
    )
    apart = trial.apart(a, b)
    if apart <= ROUNDING:
        return Finding(PASS, check, "silence behind a clip does not change its tokens")
    text = "silence behind a clip changes its patches by up to"
    return Finding(NOTE, check, f"{text} {apart:.2g} of their spread")


def _geometry(trial: _Trial) -> Iterator[Finding]:
    encoder, t = trial.encoder, trial.tokens.patches.shape[1]
    step = encoder.geometry.seconds_per_step
    delivered = trial.waveform.shape[1] / encoder.sample_rate
    text = f"{t} steps of {step:g} s cover {t * step:.4g} s of {delivered:.4g} s"
    if abs(t * step - delivered) <= 2 * step:
        yield Finding(PASS, "time", text)
    else:
        right = f"seconds_per_step of {delivered / t:.4g} would fit"
        yield Finding(FAIL, "time", f"{text}: {right}")
    edges, highest = encoder.geometry.frequency_edges_hz, encoder.sample_rate / 2
    text = f"{len(edges)} bands, {edges[0][0]:.4g} to {edges[-1][1]:.4g} Hz"
    if sorted(edges) == list(edges) and all(0 <= a < b <= highest for a, b in edges):
        yield Finding(PASS, "frequency", text)
    else:
        yield Finding(
            FAIL, "frequency", f"{text}: must rise, and end by {highest:g} Hz"
        )


def _places(trial: _Trial) -> Iterator[Finding]:
    """Whether the tokens that change most are where something happens."""
    geometry, (_, t, f, _) = trial.encoder.geometry, trial.tokens.patches.shape
    seconds = np.arange(trial.waveform.shape[1]) / trial.encoder.sample_rate
    end = trial.lengths[0] / trial.encoder.sample_rate
    if t >= 4:
        middles, width = end * AT, max(geometry.seconds_per_step, 0.05 * end)
        noise = np.random.default_rng(1).standard_normal(len(seconds))
        bursts = [noise * (np.abs(seconds - at) < width / 2) for at in middles]
        steps = _changes(trial, bursts).mean(2).argmax(1)
        heard = (steps + 0.5) * geometry.seconds_per_step
        is_near = np.abs(heard - middles).max() <= 2 * width
        yield _placed("place in time", "bursts", "s", middles, heard, bool(is_near))
    if f >= 4:
        bands = np.round((f - 1) * AT).astype(int)
        centres = np.mean(geometry.frequency_edges_hz, axis=1)
        tones = [np.sin(2 * np.pi * hz * seconds) for hz in centres[bands]]
        found = _changes(trial, tones).mean(1).argmax(1)
        yield _placed(
            "place in frequency",
            "tones",
            "Hz",
            centres[bands],
            centres[found],
            bool(np.abs(found - bands).max() <= 1),
        )


def _changes(
    trial: _Trial, sounds: list[Float[np.ndarray, "S"]]
) -> Float[np.ndarray, "3 T F"]:
    """How far each of three sounds moves each token away from those of quiet noise."""
    ground = QUIET / NOISE * trial.waveform[:1]
    is_clip = np.arange(ground.shape[1]) < trial.lengths[0]
    heard = np.concatenate([ground, ground + LOUD * np.stack(sounds) * is_clip])
    lengths = np.repeat(trial.lengths[:1], len(heard))
    patches = trial.encode(heard.astype(np.float32), lengths).patches
    return np.linalg.norm(patches[1:] - patches[:1], axis=-1)


def _placed(
    check: str,
    what: str,
    unit: str,
    sent: np.ndarray,
    heard: np.ndarray,
    is_near: bool,
) -> Finding:
    there, here = (", ".join(f"{x:.3g}" for x in xs) for xs in (sent, heard))
    text = f"{what} at {there} {unit} are heard most at {here} {unit}"
    if is_near:
        return Finding(PASS, check, text)
    return Finding(NOTE, check, f"{text}: are patches in the order [time, frequency]?")


def _costs(trial: _Trial, load_seconds: float) -> Iterator[Finding]:
    start = time.monotonic()
    trial.encode(trial.waveform, trial.lengths)
    rate = len(trial.waveform) / (time.monotonic() - start)
    device = jax.devices()[0].device_kind
    yield Finding(
        NOTE,
        "speed",
        f"{rate:.3g} clips/s in batches of 4, on {device} or wherever it runs; "
        f"loaded in {load_seconds:.1f} s",
    )
    weights = sum(x.nbytes for x in jax.tree.leaves(trial.encoder.params))
    yield Finding(NOTE, "memory", f"weights {weights / 1e6:.0f} MB, {_peak()}")
    t, f, d = trial.tokens.patches.shape[1:]
    sizes = [
        Layout(clips=CLIPS_PER_SHARD, grid=(t, f, d), classes=0, dtype=dtype).disk_bytes
        / CLIPS_PER_SHARD
        for dtype in ("bfloat16", "float32")
    ]
    yield Finding(
        NOTE,
        "disk",
        f"{sizes[0] / 1e3:,.0f} kB per clip (in float32 {sizes[1] / 1e3:,.0f})",
    )


def _peak() -> str:
    """The most memory that was in use, of the accelerator or else of the process."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if used:
        return f"at most {used / 1e6:,.0f} MB of the device in use"
    import resource  # Not on every system, nor needed there.

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"at most {peak / 1e6:,.0f} MB of the process"
