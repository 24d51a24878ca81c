"""Defines the key of a token store and explains how two keys differ.

The key holds everything that changes the content. A store is read only if its whole key
matches, so tokens of an older front end, of other weights or of a changed data set are
never mistaken for the wanted ones.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from typing import Any, NamedTuple

from unmute_jax.audio.resample import RESAMPLER
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, Source
from unmute_jax.encoders.clip_input import ClipInput, key_fields
from unmute_jax.errors import unknown_name
from unmute_jax.io import fitting
from unmute_jax.store.batches import input_lengths
from unmute_jax.store.files import PathOrUrl, path_or_url, subfolder

# To be raised whenever the layout on disk, or what `embed` computes, changes.
FORMAT = 3
DTYPES = ("bfloat16", "float32", "int8")
# Longest value that is shown in full where two keys differ, in characters.
MAX_SHOWN = 72


class Kept(NamedTuple):
    """Which layers' tokens a store keeps.

    Attributes:
        layer: Layer whose tokens stand in the place of those of the last one, from 0;
            None for the last.
        layers: Whether the tokens of all layers are kept, too.
        summaries: Whether the summaries of all layers are kept, too.
    """

    layer: int | None = None
    layers: bool = False
    summaries: bool = False

    @property
    def needs_layers(self) -> bool:
        """Whether the encoder must return the tokens of all layers."""
        return self != LAST

    def fields(self, layers: int) -> dict[str, int]:
        """Returns the fields of a key, none for the last layer.

        So the keys of stores of older versions hold.

        Args:
            layers: Number of layers of the encoder.
        """
        return {
            **({"layer": self.layer} if self.layer is not None else {}),
            **({"layers": layers} if self.layers else {}),
            **({"layer_summaries": layers} if self.summaries else {}),
        }


LAST = Kept()


def store_key(
    encoder: Source,
    dataset: Dataset,
    split: str,
    dtype: str = "bfloat16",
    *,
    kept: Kept = LAST,
    lengths: int = 1,
) -> dict:
    """Returns everything that changes the tokens of one split, as JSON types.

    Args:
        encoder: Encoder or exported tokens. The identity covers weights, sizes and
            front end.
        dataset: Data set. Its fingerprint covers ids, labels, events and audio, and
            thereby which unreadable clips were skipped.
        split: One of `dataset.splits`.
        dtype: Type in which the patches are stored, one of `DTYPES`.
        kept: Layers whose tokens are stored.
        lengths: Number of lengths that inputs may have.

    Raises:
        InputError: If there is no such split or type, or the encoder takes no clips of
            such lengths.
    """
    if dtype not in DTYPES:
        raise unknown_name("token type", dtype, DTYPES)
    fields = {}
    if isinstance(encoder, Encoder):
        fields = _input_fields(encoder, dataset, lengths)
    return as_json(
        {
            "format": FORMAT,
            "dataset": dataset.name,
            "split": split,
            "fingerprint": dataset.fingerprint(split),
            "encoder": encoder.identity(),
            **fields,
            "dtype": dtype,
            **(kept.fields(encoder.num_layers) if kept.needs_layers else {}),
        }
    )


def _input_fields(encoder: Encoder, dataset: Dataset, lengths: int) -> dict:
    """Returns the fields that say how a waveform becomes an input of the encoder."""
    have, want = sorted(dataset.sample_rates), encoder.sample_rate
    rates = ", ".join(map(str, have))
    samples = input_lengths(encoder, dataset.clip_seconds, lengths)
    return {
        "resampling": "none" if have == [want] else f"{RESAMPLER} {rates} -> {want}",
        **key_fields([ClipInput(n) for n in samples]),
    }


def store_path(root: str | pathlib.Path, key: dict) -> PathOrUrl:
    """Returns the folder of the tokens with this key: readable names and a hash."""
    digest = hashlib.sha256(_canonical(key).encode()).hexdigest()[:16]
    names = (key["dataset"], key["split"], key["encoder"]["name"])
    readable = "-".join(re.sub(r"[^A-Za-z0-9_+.]+", "_", name) for name in names)
    name = fitting(pathlib.Path(f"{readable}-{digest}")).name
    return subfolder(path_or_url(root), name)


def key_differences(old: dict, new: dict) -> list[str]:
    """Returns the fields in which two keys differ, as `field: old -> new`."""
    before, after = _flat(old), _flat(new)
    return [
        f"{field}: {_short(before.get(field))} -> {_short(after.get(field))}"
        for field in sorted(before | after)
        if before.get(field) != after.get(field)
    ]


def as_json(value: Any) -> Any:
    """Returns `value` as JSON gives it back (tuples become lists), for comparison."""
    return json.loads(_canonical(value))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _short(text: str | None) -> str:
    """Shortens long values."""
    if text is None:
        return "absent"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Returns nested fields under dotted names; lists are compared as a whole."""
    if not isinstance(value, dict):
        return {prefix: json.dumps(value)}
    flat = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{name}" if prefix else name)
    return flat
