"""Mixed copies of training clips, made once, so that their tokens can be cached.

This is the recipe of Bird-MAE's `MultilabelMix`. With probability 0.9, one to three
other training clips are added to a clip. Each is rotated by a random time, and its
level is below that of the sum so far by a ratio that is drawn for the clip from 2 to 30
dB. The mixed copy has the labels of all of them.

Differs from the reference in drawing every added clip anew (there, one clip is added up
to three times), in drawing from the whole split instead of a batch, and in scaling the
whole mixture if its peak would not fit 16 bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from unmute_jax.audio.resample import pad_or_crop
from unmute_jax.datasets.file_builder import FileEntry
from unmute_jax.datasets.mixing import PEAK, rms

PROBABILITY = 0.9
SNR_DB = (2.0, 30.0)
MOST_ADDED = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedEntry(FileEntry):
    """A clip with other clips added to it.

    Attributes:
        clip: The clip that others are added to.
        added: The clips that are added.
        turns: Rotation of each added clip as a share of its length, from 0 to 1.
        snr_db: Level of the sum so far above each added clip, in dB.
    """

    clip: FileEntry
    added: tuple[FileEntry, ...]
    turns: tuple[float, ...]
    snr_db: float


def mixed_copies(
    clips: Sequence[FileEntry], variant: int, seed: int
) -> list[MixedEntry]:
    """Returns a mixed copy of every clip, others for each variant and seed."""
    return [_mixed_copy(clips, row, variant, seed) for row in range(len(clips))]


def mix(
    x: Float32[np.ndarray, " S"],
    added: Sequence[Float32[np.ndarray, "_"]],
    turns: Sequence[float],
    snr_db: float,
) -> Float32[np.ndarray, " S"]:
    """Adds waveforms to another one and scales the sum if it is too loud.

    Args:
        x: Waveform that others are added to.
        added: Waveforms to add, which are padded or cropped to the length of `x`.
        turns: Rotation of each added waveform; see `MixedEntry`.
        snr_db: Ratio of levels in dB; see `MixedEntry`.
    """
    mixture = x.copy()
    for other, turn in zip(added, turns, strict=True):
        background, _ = pad_or_crop(other, len(x))
        background = np.roll(background, round(turn * len(x)))
        level = rms(mixture) / 10 ** (snr_db / 20)
        mixture += background * np.float32(level / max(rms(background), 1e-8))
    peak = float(np.abs(mixture).max(initial=0.0))
    return mixture * np.float32(PEAK / peak) if peak > PEAK and added else mixture


def digest_of(copy: MixedEntry, digests: Sequence[str]) -> str:
    """Returns the SHA-256 of what was drawn and of the clips that were mixed.

    The samples are left out, because their last bit differs between machines.

    Args:
        copy: The mixed copy.
        digests: SHA-256 of each clip in it.
    """
    drawn = json.dumps([copy.id, copy.turns, copy.snr_db, list(digests)])
    return hashlib.sha256(drawn.encode()).hexdigest()


def _mixed_copy(
    clips: Sequence[FileEntry], row: int, variant: int, seed: int
) -> MixedEntry:
    clip = clips[row]
    name = f"{seed} {variant} {clip.id}".encode()
    bits = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    rng = np.random.Generator(np.random.PCG64(bits))
    is_mixed = rng.random() < PROBABILITY and len(clips) > 1
    count = int(rng.integers(1, MOST_ADDED + 1)) if is_mixed else 0
    # Any clip but this one.
    rows = [int(rng.integers(len(clips) - 1)) for _ in range(count)]
    added = tuple(clips[r + (r >= row)] for r in rows)
    return MixedEntry(
        id=f"{clip.id}-mixup{variant}",
        file=clip.file,
        labels=tuple(sorted({c for entry in (clip, *added) for c in entry.labels})),
        clip=clip,
        added=added,
        turns=tuple(float(rng.random()) for _ in added),
        snr_db=float(rng.uniform(*SNR_DB)),
    )
