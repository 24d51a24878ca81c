"""Checks in about a minute whether an encoder behaves as the pipeline expects.

A check FAILs if the encoder would spoil results silently: its tokens depend on the
other clips of a batch, change from call to call, are not finite, or lie elsewhere than
its geometry says. A NOTE is a property that the user should know. The findings are
printed by `python -m experiments.check_encoder`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Float, Int

from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.store.rounding import products_loss, storage_loss
from unmute_jax.store.token_places import (
    BACKGROUND,
    FAIL,
    LOUD,
    NOTE,
    PASS,
    Finding,
    Listener,
    check_geometry,
    check_places,
)
from unmute_jax.tokens import Tokens

# Limits of differences, in standard deviations of the tokens: rounding of float32, and
# rounding of half precision and of token stores in bfloat16.
ROUNDING, HALF_PRECISION = 1e-4, 2e-2
# Amplitudes of the noise.
NOISE, QUIET = 0.1, 1e-3


def check_encoder(
    load: Callable[[], Encoder], clip_seconds: float = 5.0
) -> Iterator[Finding]:
    """Runs all checks and yields each finding at once.

    Args:
        load: Loads the encoder; it is called twice to compare the results.
        clip_seconds: Length of the test clips in seconds.

    Raises:
        InputError: The first call of `load` fails, or half of such a clip is too short
            for the encoder.
    """
    start = time.monotonic()
    encoder = load()
    least = 2 * encoder.min_samples / encoder.sample_rate
    if clip_seconds < least:
        raise InputError(
            f"{encoder.name} needs test clips of at least {least:g} s, not "
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
    steps, samples = trial.tokens.patches.shape[1], trial.waveform.shape[1]
    geometry = list(check_geometry(encoder, clip_seconds, steps, samples))
    yield from geometry
    # Comparing tokens is pointless if they are not finite or not deterministic.
    for check in (_finite, _deterministic):
        yield (finding := check(trial))
        if finding.verdict == FAIL:
            break
    else:
        yield _batched(trial)
        yield _loaded_again(trial, load)
        yield from _rounding(trial)
        yield from _padding(trial)
        # Where sounds are seen is judged by the geometry, as far as that is right.
        is_right = {f.check: f.verdict != FAIL for f in geometry}
        yield from check_places(trial.listener, **is_right)
    yield from _costs(trial, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """An encoder, four clips as the pipeline prepares them, and their tokens.

    The clips are noise, loud noise, quiet noise of half the length, and silence.
    """

    encoder: Encoder
    clip_seconds: float
    waveform: Float[np.ndarray, "4 S"]
    lengths: Int[np.ndarray, "4"]
    tokens: Tokens

    @classmethod
    def of(cls, encoder: Encoder, clip_seconds: float) -> _Trial:
        clip_input = encoder.clip_input(clip_seconds)
        samples = clip_input.samples
        whole = len(clip_input.heard(round(clip_seconds * encoder.sample_rate)))
        lengths = np.array([whole, whole, whole // 2, whole], np.int32)
        noise = np.random.default_rng(0).standard_normal((4, samples), np.float32)
        waveform = noise * np.array([[NOISE], [LOUD], [QUIET], [0]], np.float32)
        waveform[np.arange(samples) >= lengths[:, None]] = 0
        expected = (*encoder.grid(clip_seconds), encoder.num_features)
        tokens = jax.device_get(encoder(waveform, lengths))
        shape = tokens.patches.shape[1:]
        if shape != expected:
            raise InputError(
                f"{encoder.name} gives tokens of shape {shape} but states {expected}"
            )
        return cls(encoder, clip_seconds, waveform, lengths, tokens)

    @property
    def listener(self) -> Listener:
        """The encoder and a clip of noise, to which sounds can be added."""
        noise = BACKGROUND / NOISE * self.waveform[0]
        return Listener(self.encoder, self.encode, noise, int(self.lengths[0]))

    def encode(self, waveform: np.ndarray, lengths: np.ndarray) -> Tokens:
        """The tokens of some clips, on the host."""
        return jax.device_get(self.encoder(waveform, lengths))

    def difference(self, a: Tokens, b: Tokens) -> float:
        """The largest absolute difference, in standard deviations of the tokens."""
        # Infinity minus infinity is NaN, which the caller treats as a difference.
        with np.errstate(invalid="ignore"):
            worst = max(
                float(np.abs(x - y).max())
                for x, y in ((a.patches, b.patches), (a.cls, b.cls))
            )
            spread = float(np.std(self.tokens.patches))
        return worst / max(spread, 1e-30)


def _rows(tokens: Tokens, rows: slice) -> Tokens:
    return jax.tree.map(lambda x: x[rows], tokens)


def _compared(check: str, difference: float, value: str, wrong: str) -> Finding:
    """The finding for two results that should be equal.

    Args:
        check: Name of the check.
        difference: Their difference, see `_Trial.difference`.
        value: Description if they are equal.
        wrong: Description if they are not.
    """
    if difference == 0:
        return Finding(PASS, check, f"{value}, bit for bit")
    amount = f"{difference:.1e} of the standard deviation of the tokens"
    if difference <= ROUNDING:
        return Finding(PASS, check, f"{value}, up to {amount}")
    if difference <= HALF_PRECISION:
        return Finding(NOTE, check, f"{value}, up to {amount}: half precision?")
    # A difference of NaN ends here, too.
    return Finding(FAIL, check, f"{wrong}: {amount}")


# Checks that every encoder must pass


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


def _deterministic(trial: _Trial) -> Finding:
    again = trial.encode(trial.waveform, trial.lengths)
    return _compared(
        "deterministic",
        trial.difference(trial.tokens, again),
        "a second call gives the same tokens",
        "a second call gives other tokens (is dropout on?)",
    )


def _batched(trial: _Trial) -> Finding:
    differences = [
        trial.difference(
            _rows(trial.tokens, slice(i, i + 1)),
            trial.encode(trial.waveform[i : i + 1], trial.lengths[i : i + 1]),
        )
        for i in range(len(trial.waveform))
    ]
    return _compared(
        "batched = single",
        float(np.max(differences)),
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
                FAIL, check, "has another identity: stored tokens would not be found"
            )
        tokens = jax.device_get(other(trial.waveform, trial.lengths))
    except InputError as error:
        return Finding(FAIL, check, str(error))
    return _compared(
        check,
        trial.difference(trial.tokens, tokens),
        "gives the same tokens",
        "gives other tokens under the same identity (weights without a seed?)",
    )


def _rounding(trial: _Trial) -> Iterator[Finding]:
    """What it costs to store tokens in each type, and to multiply in bfloat16."""
    tokens = trial.tokens
    losses = {
        "stored in bfloat16": storage_loss(tokens, "bfloat16"),
        "stored in int8": storage_loss(tokens, "int8"),
        "products": products_loss(trial.encoder, trial.waveform, trial.lengths, tokens),
    }
    for check, loss in losses.items():
        if loss is not None and loss.is_large:
            # Nobody gets int8 without asking for it.
            verdict = NOTE if check == "stored in int8" else FAIL
            yield Finding(verdict, check, f"{loss}: use {loss.remedy}")
        elif loss is not None:
            yield Finding(PASS, check, str(loss))


# Properties that a user should know


def _padding(trial: _Trial) -> Iterator[Finding]:
    samples = trial.waveform.shape[1]
    length = trial.lengths[:1] // 2
    is_clip = np.arange(samples) < length[0]
    padded = np.where(is_clip, trial.waveform[:1], np.float32(0))
    tokens = trial.encode(padded, length)
    behind = trial.encode(np.where(is_clip, padded, np.float32(LOUD)), length)
    difference = trial.difference(tokens, behind)
    if difference == 0:
        yield Finding(PASS, "behind a clip", "samples there are not read")
    else:
        text = f"sound there changes tokens by {difference:.1e} standard deviations"
        yield Finding(NOTE, "behind a clip", f"{text}; the pipeline puts zeros there")
    yield _silence(trial, padded, tokens, length)
    steps, real = trial.tokens.patches.shape[1], int(np.sum(tokens.mask))
    masked = f"{real} of {steps} time steps of a clip of half the length are real"
    text = "all time steps count, padding too" if real == steps else masked
    yield Finding(NOTE, "mask", text)


def _silence(
    trial: _Trial, padded: np.ndarray, tokens: Tokens, length: np.ndarray
) -> Finding:
    """Whether silence behind a clip changes the tokens of the clip."""
    check = "padding"
    try:
        alone = trial.encode(padded[:, : length[0]], length).patches
    except Exception as error:  # The code of a custom encoder may raise anything.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return Finding(NOTE, check, f"takes only one length of input ({reason:.100})")
    t = min(alone.shape[1], tokens.patches.shape[1])
    a, b = (
        dataclasses.replace(tokens, patches=x[:, :t], mask=tokens.mask[:, :t])
        for x in (alone, tokens.patches)
    )
    difference = trial.difference(a, b)
    if difference <= ROUNDING:
        return Finding(PASS, check, "silence behind a clip does not change its tokens")
    text = f"changes its patches by up to {difference:.2g} standard deviations"
    return Finding(NOTE, check, f"silence behind a clip {text}")


def _costs(trial: _Trial, load_seconds: float) -> Iterator[Finding]:
    start = time.monotonic()
    trial.encode(trial.waveform, trial.lengths)
    rate = len(trial.waveform) / (time.monotonic() - start)
    device = jax.devices()[0].device_kind
    yield Finding(
        NOTE,
        "speed",
        f"{rate:.3g} clips/s in batches of 4, on {device} unless the encoder runs "
        f"elsewhere; loaded in {load_seconds:.1f} s",
    )
    weights = sum(x.nbytes for x in jax.tree.leaves(trial.encoder.params))
    yield Finding(NOTE, "memory", f"weights {weights / 1e6:.0f} MB, {_peak_memory()}")
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


def _peak_memory() -> str:
    """The peak memory of the accelerator, or of the process if there is none."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if used:
        return f"at most {used / 1e6:,.0f} MB of the device in use"
    import resource  # It does not exist on every system.

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"at most {peak / 1e6:,.0f} MB of the process"
