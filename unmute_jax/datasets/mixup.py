"""Mixed copies of training clips, made once, so that their tokens can be kept.

The recipe of Bird-MAE's `MultilabelMix`: with probability 0.9, one to three other
training clips are laid under a clip, each turned around by a random time and as much
quieter than what it is added to as a ratio says that is drawn from 2 to 30 dB for the
clip; labels are united. Differs from it in drawing every added clip anew (there, one
clip is added up to three times), in partners from the whole split instead of a batch,
and in scaling the whole mixture where its peak would not fit 16 bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from unmute_jax.audio.resample import pad_or_crop
from unmute_jax.datasets.file_builder import Entry

PROBABILITY = 0.9
SNR_DB = (2.0, 30.0)
MOST_ADDED = 3
PEAK = 0.99


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixed(Entry):
    """A clip with others under it.

    Attributes:
        clip: What it is made of.
        added: The others.
        turns: By how much of their length each is turned around, from 0 to 1.
        snr_db: How much louder what they are added to is.
    """

    clip: Entry
    added: tuple[Entry, ...]
    turns: tuple[float, ...]
    snr_db: float


def mixed_copies(clips: Sequence[Entry], variant: int, seed: int) -> list[Mixed]:
    """A mixed copy of every clip; another variant or seed gives others."""
    return [_copy(clips, row, variant, seed) for row in range(len(clips))]


def mix(
    x: Float[np.ndarray, " S"],
    added: Sequence[Float[np.ndarray, "_"]],
    turns: Sequence[float],
    snr_db: float,
) -> Float[np.ndarray, " S"]:
    """Lays waveforms under another; see `Mixed`. They get its length."""
    mixture = x.astype(np.float32)
    for other, turn in zip(added, turns, strict=True):
        background, _ = pad_or_crop(other.astype(np.float32), len(x))
        background = np.roll(background, round(turn * len(x)))
        level = _rms(mixture) / 10 ** (snr_db / 20)
        mixture += background * np.float32(level / max(_rms(background), 1e-8))
    peak = float(np.abs(mixture).max(initial=0.0))
    return mixture * np.float32(PEAK / peak) if peak > PEAK and added else mixture


def digest_of(copy: Mixed, digests: Sequence[str]) -> str:
    """What tells a mixed copy from others: what was drawn and the clips it was made of.

    Not its samples, of which the last bit differs between machines.
    """
    drawn = json.dumps([copy.id, copy.turns, copy.snr_db, list(digests)])
    return hashlib.sha256(drawn.encode()).hexdigest()


def _copy(clips: Sequence[Entry], row: int, variant: int, seed: int) -> Mixed:
    clip = clips[row]
    name = f"{seed} {variant} {clip.id}".encode()
    bits = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    rng = np.random.Generator(np.random.PCG64(bits))
    is_mixed = rng.random() < PROBABILITY and len(clips) > 1
    count = int(rng.integers(1, MOST_ADDED + 1)) if is_mixed else 0
    # Any clip but this one.
    rows = [int(rng.integers(len(clips) - 1)) for _ in range(count)]
    added = tuple(clips[r + (r >= row)] for r in rows)
    return Mixed(
        id=f"{clip.id}-mixup{variant}",
        file=clip.file,
        labels=tuple(sorted({c for entry in (clip, *added) for c in entry.labels})),
        clip=clip,
        added=added,
        turns=tuple(float(rng.random()) for _ in added),
        snr_db=float(rng.uniform(*SNR_DB)),
    )


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
