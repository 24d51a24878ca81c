"""Embeds one clip again where a key cannot say whether stored tokens are up to date.

The key of a custom encoder holds its version, its options and the content of its
weights file. It cannot hold a checkpoint that the class opens by itself, nor all code
that it imports. So before such tokens are reused, one of the clips is embedded again
and compared with what is stored. Encoders of this package need no such check.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, Source
from unmute_jax.errors import InputError
from unmute_jax.store.batches import (
    InputLengths,
    PreparedClip,
    default_batch_size,
    input_lengths,
    prepare_clip,
)
from unmute_jax.store.files import PathOrUrl
from unmute_jax.store.layout import Layout, unusable_shards
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens

# An encoder in half precision rounds more, by an amount that depends on the size of the
# batch and is measured. Beyond this largest difference it is no rounding.
HALF_PRECISION = 2e-2
# Relative rounding errors: half a step of bfloat16, and float32 after many operations.
_BFLOAT16, _FLOAT32 = 2.0**-8, 1e-5


class Difference(NamedTuple):
    """How much two versions of a clip's tokens differ, in their standard deviations.

    Attributes:
        typical: Root mean square of the differences.
        largest: Largest difference.
    """

    typical: float
    largest: float

    def is_within(self, other: Difference) -> bool:
        """Whether neither number exceeds the other's. NaN exceeds everything."""
        return self.typical <= other.typical and self.largest <= other.largest

    def __str__(self) -> str:
        return (
            f"up to {self.largest:.2g} standard deviations ({self.typical:.2g} in the "
            "root mean square)"
        )


# Largest difference that is rounding: float32 and TF32 on other devices stay below it.
ROUNDING = Difference(typical=1e-3, largest=1e-2)


def recheck(
    encoder: Source,
    dataset: Dataset,
    split: str,
    path: PathOrUrl,
    manifest: dict[str, Any],
    *,
    lengths: int = 1,
) -> str:
    """Embeds a clip of a store again if the encoder's key does not cover everything.

    The clip is the first audible one whose tokens are in the store, which may be
    unfinished: silence tells little about the weights.

    Args:
        encoder: The encoder that is to have made the tokens.
        dataset: The data set.
        split: Its split.
        path: The store.
        manifest: The manifest in the store.
        lengths: Number of lengths that inputs may have.

    Returns:
        What was compared, for people; empty where nothing had to be.

    Raises:
        InputError: The encoder gives other tokens now.
    """
    if encoder.is_hashed or not isinstance(encoder, Encoder):
        return ""
    layout = Layout.from_manifest(manifest)
    unusable = unusable_shards(path, layout)
    shard = next((k for k in layout.shards if k not in unusable), None)
    if shard is None:
        return ""
    grids = input_lengths(encoder, dataset.clip_seconds, lengths)
    prepared = _first_audible(encoder, dataset, split, layout.rows(shard), grids)
    name, row = prepared.clip.id, prepared.position

    def encode(copies: int) -> Tokens:
        waveforms = np.repeat(prepared.waveform[None], copies, axis=0)
        real = np.full(copies, prepared.length, np.int32)
        tokens = encoder(waveforms, real)
        return jax.device_get(jax.tree.map(lambda x: x[:1], tokens))

    stored = TokenStore(path, manifest).tokens_of(slice(row, row + 1))
    found = difference(stored, alone := encode(1))
    if not found.is_within(ROUNDING):
        rounding = Difference(0.0, 0.0)
        if found.largest <= 4 * HALF_PRECISION:
            batch = encode(max(2, default_batch_size()))
            rounding = difference(alone, batch)
            if difference(stored, batch).is_within(ROUNDING):
                return _agreement(encoder, manifest, name, found)
        most = min(4 * rounding.largest, HALF_PRECISION)
        if not found.is_within(Difference(4 * rounding.typical, most)):
            raise InputError(
                f"the cached tokens of {dataset.name} {split} are not those that "
                f"{encoder.name} gives now; {_reason(encoder, manifest)} (clip "
                f"{name!r} was embedded again and differs by {found}): to embed anew, "
                f"raise its `version`, or delete {path}; if it gives other tokens at "
                f"every call, `unmute check-encoder {encoder.name}` says so"
            )
    return _agreement(encoder, manifest, name, found)


def difference(a: Tokens, b: Tokens) -> Difference:
    """Compares the tokens of one clip with those that were computed again.

    What storing `a` may have changed does not count: half a step of its type.

    Args:
        a: Stored tokens of one clip, in any type of a store.
        b: Tokens in float32, with as many time steps as `a` or fewer.
    """
    t = b.patches.shape[1]
    wide = np.asarray(a.floats().patches, np.float32)
    mask = np.asarray(a.mask)
    if not np.array_equal(mask[:, :t], b.mask) or mask[:, t:].any():
        return Difference(np.inf, np.inf)
    scale = max(float(np.std(wide)), 1e-3 * float(np.abs(wide).max()), 1e-30)
    rounding = _FLOAT32 * np.abs(wide)
    if a.patches.dtype != np.float32:
        rounding += _BFLOAT16 * np.abs(wide)
    if a.scales is not None:
        rounding += np.asarray(a.scales)[..., None] / 2
    # Infinity minus infinity is NaN, which is no agreement.
    with np.errstate(invalid="ignore"):
        pairs = (
            (wide[:, :t], b.patches, rounding[:, :t]),
            (a.cls, b.cls, _FLOAT32 * np.abs(a.cls)),
        )
        excess = [np.maximum(np.abs(x - y) - r, 0) / scale for x, y, r in pairs]
    return Difference(
        typical=max(float(np.sqrt(np.mean(np.square(x)))) for x in excess),
        largest=max(float(x.max()) for x in excess),
    )


def what_the_key_holds(encoder: Source) -> str:
    """Describes what of an encoder is in the key of its tokens, for people."""
    if not isinstance(encoder, Encoder):
        return "the content of all exported files"
    if encoder.is_hashed:
        return f"version {encoder.version}, weights {encoder.weights}, all options"
    return (
        f"the stated version, options, and weights ({encoder.weights}); not what the "
        f"class reads or imports by itself (code {encoder.code or 'unknown'})"
    )


def _first_audible(
    encoder: Encoder, dataset: Dataset, split: str, rows: slice, grids: InputLengths
) -> PreparedClip:
    """Returns the first of some clips that is not silent, or the first if all are."""
    source = dataset.source_of(split)
    clips = (
        prepare_clip(encoder, source[row], row, grids)
        for row in range(rows.start, rows.stop)
    )
    first = next(clips)
    loud = (clip for clip in itertools.chain([first], clips) if clip.waveform.any())
    return next(loud, first)


def _reason(encoder: Source, manifest: dict[str, Any]) -> str:
    if manifest["encoder"].get("code") != encoder.code:
        return "its code has changed since"
    return "a file that it loads, or a package that it imports, has changed since"


def _agreement(
    encoder: Source, manifest: dict[str, Any], clip: str, found: Difference
) -> str:
    changed = ""
    if manifest["encoder"].get("code") != encoder.code:
        changed = f"the code of {encoder.name} has changed since, but "
    apart = f", {found} apart" if found.largest else ""
    return f"{changed}clip {clip!r} was embedded again and agrees{apart}"
