"""Runs an exported one-bit probe with NumPy alone. Copy this file to the device.

    probe = load("urban.safetensors")
    scores = probe(patches)  # [T, F, D] or [N, D] float32, tokens of probe.encoder

As a prototype consists of signs, its product with a token needs no multiplication:
`x . s = 2 (sum of x where s is +1) - (sum of x)`. A float matrix is faster on a
processor with fast matrix products; this computation needs 1/32 of its memory and only
additions.

Layout of the file (safetensors, little-endian): `signs` `[P, ceil(D / 8)]` uint8 has
one bit per weight, 1 for +1, with the first weight in the highest bit; `weights`
`[C, P]` is float16, or int8 with `weight_scale` `[C]`; `bias` `[C]` is float32;
`token_mean` and `token_sd` `[D]` float32 exist if tokens are standardised first. The
entry `one_bit` of the metadata is JSON with the classes, the task, the encoder and its
geometry, among others.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

FORMAT = 1
KEY = "one_bit"
EPS = 1e-12
_TYPES = {"U8": np.uint8, "I8": np.int8, "F16": np.float16, "F32": np.float32}


def load(path: Any, encoder: dict[str, Any] | None = None) -> OneBitProbe:
    """Loads an exported probe.

    Args:
        path: The exported file.
        encoder: The identity of the encoder of the tokens, which is compared with that
            of the training; None to skip the comparison.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged or was written by a newer version, or the probe
            was trained on tokens of another encoder.
    """
    with open(path, "rb") as file:
        raw = file.read()
    try:
        (size,) = struct.unpack_from("<Q", raw)
        header = json.loads(raw[8 : 8 + size])
        about = json.loads(header.pop("__metadata__")[KEY])
        body = raw[8 + size :]
        tensors = {name: _tensor(body, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ValueError(f"{path} is no one-bit probe, or is cut short") from error
    if about["format"] > FORMAT:
        raise ValueError(f"{path} was written by a newer version")
    probe = OneBitProbe(about, tensors)
    if encoder is not None:
        probe.check_encoder(encoder)
    return probe


class OneBitProbe:
    """A probe with binary prototypes and a small dense layer.

    Attributes:
        classes: The names of the classes in the order of the scores.
        task: "multi-label" or "single-label".
        encoder: The identity of the encoder of its tokens.
        features: The number D of features of a token.
        about: All metadata of the file.
    """

    def __init__(self, about: dict[str, Any], tensors: dict[str, np.ndarray]):
        """Makes the probe from the metadata and the tensors of a file."""
        self.about = about
        self.classes: list[str] = about["classes"]
        self.task: str = about["task"]
        self.encoder: dict[str, Any] = about["encoder"]
        self.features: int = about["features"]
        self._signs = tensors["signs"]
        weights = tensors["weights"].astype(np.float32)
        if "weight_scale" in tensors:
            weights *= tensors["weight_scale"][:, None]
        self._weights, self._bias = weights, tensors["bias"]
        self._mean, self._sd = tensors.get("token_mean"), tensors.get("token_sd")

    def check_encoder(self, encoder: dict[str, Any]) -> None:
        """Compares the identity of an encoder with that of the training.

        Raises:
            ValueError: They differ. The message names the first difference.
        """
        for key in {**self.encoder, **encoder}:
            if encoder.get(key) != self.encoder.get(key):
                raise ValueError(
                    f"this probe was trained on tokens of another encoder: {key} was "
                    f"{self.encoder.get(key)!r:.80}, and is {encoder.get(key)!r:.80}"
                )

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays in float32, such as `signs` `[P, D]` and `weights` `[C, P]`."""
        bits = np.unpackbits(self._signs, axis=1, count=self.features)
        arrays = {
            "signs": np.where(bits, np.float32(1), np.float32(-1)),
            "weights": self._weights,
            "bias": self._bias,
            "token_mean": self._mean,
            "token_sd": self._sd,
        }
        return {name: array for name, array in arrays.items() if array is not None}

    def __call__(self, patches: np.ndarray, mask: np.ndarray | None = None) -> Any:
        """Computes the scores `[C]` of one clip, which lie between 0 and 1.

        Args:
            patches: The tokens of the encoder, `[T, F, D]` or `[N, D]`.
            mask: Whether each time step or token is valid, `[T]` or `[N]`; by default
                all of them are.
        """
        y = self.logits(patches, mask)
        if self.task == "single-label":
            shifted = np.exp(y - y.max())
            return shifted / shifted.sum()
        return np.exp(-np.logaddexp(np.float32(0), -y))

    def logits(self, patches: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Computes the logits `[C]`. The arguments are those of `__call__`."""
        return self._weights @ self.matches(patches, mask) + self._bias

    def matches(
        self, patches: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray:
        """Computes the best cosine `[P]` of each prototype with a token of the clip."""
        x = np.asarray(patches, np.float32)
        if x.ndim not in (2, 3) or x.shape[-1] != self.features:
            raise ValueError(
                f"tokens must be [T, F, {self.features}] or [N, {self.features}], "
                f"not {list(x.shape)}"
            )
        if mask is not None:
            x = x[np.asarray(mask, bool)]
        x = x.reshape(-1, self.features)
        if not len(x):
            return np.zeros(len(self._signs), np.float32)
        x = self._rounded(x)
        if self._mean is not None and self._sd is not None:
            x = (x - self._mean) / self._sd
            x = x if self.about["dtype"] == "float32" else _to_bfloat16(x)
        norms = np.maximum(np.sqrt(np.square(x).sum(1)), EPS)
        total = x.sum(1)
        best = np.empty(len(self._signs), np.float32)
        for p, packed in enumerate(self._signs):
            plus = np.unpackbits(packed, count=self.features).astype(bool)
            best[p] = ((2 * x[:, plus].sum(1) - total) / norms).max()
        return best / np.sqrt(np.float32(self.features))

    def _rounded(self, x: np.ndarray) -> np.ndarray:
        """Rounds tokens in the same way as those that the probe was trained on."""
        if self.about["dtype"] == "float32":
            return x
        if self.about["dtype"] == "int8":
            # Each token has its own scale; scaled back, tokens are bfloat16.
            scale = np.abs(x).max(1, keepdims=True) * np.float32(1 / 127)
            x = np.rint(x / np.where(scale > 0, scale, np.float32(1))) * scale
        return _to_bfloat16(x)


def _to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Rounds to the nearest bfloat16, ties to even; the type remains float32."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def _tensor(body: bytes, entry: dict[str, Any]) -> np.ndarray:
    begin, end = entry["data_offsets"]
    data = np.frombuffer(body[begin:end], np.dtype(_TYPES[entry["dtype"]]))
    return data.reshape(entry["shape"])
