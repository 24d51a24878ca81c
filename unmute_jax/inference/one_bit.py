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
entry `one_bit` of the metadata is JSON with the classes, the task, the encoder, its
layers and its geometry, among others. The entry `digest` is the SHA-256 of all of this,
so that a damaged file is noticed; files of version 1 have none.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np

# Version 2 has a digest, and states which layers are read.
FORMAT = 2
KEY = "one_bit"
EPS = 1e-12
_TYPES = {"U8": np.uint8, "I8": np.int8, "F16": np.float16, "F32": np.float32}
# Tokens that are not finite give scores that are not, without a warning.
_SILENT = np.errstate(invalid="ignore", over="ignore")
_TASKS = ("multi-label", "single-label")
_DTYPES = ("float32", "bfloat16", "int8")
_NAMES = (
    *("format", "features", "classes", "task", "encoder", "encoder_description"),
    *("seconds_per_step", "frequency_edges_hz", "clip_seconds", "dtype", "dataset"),
    *("protocol", "seed", "validation", "layers"),
)


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
        header, body = _parse(raw[8 : 8 + size]), raw[8 + size :]
        metadata = header.pop("__metadata__")
        about, tensors = _parse(metadata[KEY]), _tensors(header, body)
    # A damaged file fails in any way.
    except Exception as error:
        raise ValueError(f"{path} is no one-bit probe, or is cut short") from error
    if type(about.get("format")) is int and about["format"] > FORMAT:
        raise ValueError(f"{path} was written by a newer version")
    try:
        _check_values(about)
        if about["format"] > 1 or "digest" in metadata:
            right = metadata.get("digest") == _digest(metadata, tensors)
            _check(right, "the digest", "that of the content")
        _check_tensors(about, tensors)
    except ValueError as error:
        raise ValueError(f"{path} was altered or damaged: {error}") from None
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
        layers: The layer of the encoder that its tokens must be of: "last", a number
            from 0, or "all".
        about: All metadata of the file.
    """

    def __init__(self, about: dict[str, Any], tensors: dict[str, np.ndarray]):
        """Makes the probe from the metadata and the tensors of a file."""
        self.about = about
        self.classes: list[str] = about["classes"]
        self.task: str = about["task"]
        self.encoder: dict[str, Any] = about["encoder"]
        self.features: int = about["features"]
        self.layers: str = about.get("layers", "last")
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

    @_SILENT
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

    @_SILENT
    def logits(self, patches: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Computes the logits `[C]`. The arguments are those of `__call__`."""
        return self._weights @ self.matches(patches, mask) + self._bias

    @_SILENT
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
        best = np.empty(len(self._signs), np.float32)
        norms = np.maximum(np.sqrt(np.square(x).sum(1)), EPS)
        total = x.sum(1)
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


# What follows reads and checks the file.


def _parse(text: Any) -> dict[str, Any]:
    """Parses JSON that has no name twice, no halves of characters and no deep nesting.

    NaN, which is no JSON but was written once, becomes None.
    """
    value = json.loads(text, object_pairs_hook=_once, parse_constant=lambda _: None)
    json.dumps(value, ensure_ascii=False).encode()
    level = [value]
    for _ in range(50):
        level = [x.values() if isinstance(x, dict) else x for x in level]
        level = [v for x in level for v in x if isinstance(v, dict | list)]
    if level or not isinstance(value, dict):
        raise ValueError("it is nested too deeply, or no object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _tensors(header: dict[str, Any], body: bytes) -> dict[str, np.ndarray]:
    """Returns the tensors, which must follow each other without a gap."""
    tensors, place = {}, 0
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        begin, end = header[name]["data_offsets"]
        if begin != place:
            raise ValueError("tensors overlap, or there is a gap")
        data = np.frombuffer(body[begin:end], _TYPES[header[name]["dtype"]])
        tensors[name], place = data.reshape(header[name]["shape"]), end
        # NumPy takes any negative length for one that it computes itself.
        if list(tensors[name].shape) != header[name]["shape"]:
            raise ValueError("a length is negative")
    if place != len(body):
        raise ValueError("the file is longer or shorter than its tensors")
    return tensors


def _digest(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> str:
    """Returns the SHA-256 of all other metadata, and of the shapes and tensors."""
    others = {key: value for key, value in metadata.items() if key != "digest"}
    listed = {
        name: [list(x.shape), hashlib.sha256(x.tobytes()).hexdigest()]
        for name, x in tensors.items()
    }
    content = json.dumps([others, listed], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _check_values(about: dict[str, Any]) -> None:
    """Checks the type and range of every value."""
    for name in _NAMES:
        _check(name in about or name == "layers", name, "there")
    for name in about:
        _check(name in _NAMES, f"the value {name[:40]!r}", "of a known name")
    classes, edges = about["classes"], about["frequency_edges_hz"]
    _check(_is_int(about["format"], 1), "format", "a version")
    _check(_is_int(about["features"], 1), "features", "a whole number above 0")
    _check(_is_int(about["seed"], -(1 << 63)), "seed", "a whole number")
    _check(isinstance(classes, list) and len(classes) > 0, "classes", "a list")
    _check(all(isinstance(c, str) for c in classes), "classes", "texts")
    _check(len(set(classes)) == len(classes), "classes", "different from each other")
    _check(about["task"] in _TASKS, "task", f"one of {_TASKS}")
    _check(about["dtype"] in _DTYPES, "dtype", f"one of {_DTYPES}")
    layers = about.get("layers", "last")
    is_layer = isinstance(layers, str) and layers.isdecimal()
    _check(layers in ("last", "all") or is_layer, "layers", "last, all or a number")
    _check(isinstance(about["encoder"], dict), "encoder", "an object")
    for name in ("encoder_description", "dataset", "protocol"):
        _check(isinstance(about[name], str), name, "a text")
    for name in ("clip_seconds", "seconds_per_step"):
        _check(_is_number(about[name]) and about[name] > 0, name, "a number above 0")
    score = about["validation"]
    is_score = score is None or (_is_number(score) and 0 <= score <= 1)
    _check(is_score, "validation", "between 0 and 1, or null")
    are_pairs = isinstance(edges, list) and len(edges) > 0
    are_pairs = are_pairs and all(isinstance(p, list) and len(p) == 2 for p in edges)
    are_pairs = are_pairs and all(_is_number(x) for pair in edges for x in pair)
    are_pairs = are_pairs and all(0 <= low < high for low, high in edges)
    _check(are_pairs, "frequency_edges_hz", "(low, high) of each band")


def _check_tensors(about: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Checks the types and shapes of the tensors against each other."""
    c, d = len(about["classes"]), about["features"]
    p = len(tensors["signs"]) if tensors.get("signs", np.zeros(())).ndim else 0
    _check(p > 0 and p % c == 0, "the number of prototypes", f"a multiple of {c}")
    needed = {
        "signs": ("uint8", (p, -(-d // 8))),
        "weights": ("float16", (c, p)),
        "bias": ("float32", (c,)),
    }
    if "weight_scale" in tensors:
        needed |= {"weights": ("int8", (c, p)), "weight_scale": ("float32", (c,))}
    if "token_mean" in tensors or "token_sd" in tensors:
        needed |= {name: ("float32", (d,)) for name in ("token_mean", "token_sd")}
    found = {name: (x.dtype.name, x.shape) for name, x in tensors.items()}
    for name in sorted({**needed, **found}):
        want = "absent" if name not in needed else "{} {}".format(*needed[name])
        _check(found.get(name) == needed.get(name), f"tensor {name[:40]!r}", want)


def _check(is_right: bool, what: str, wanted: str) -> None:
    if not is_right:
        raise ValueError(f"{what} must be {wanted}")


def _is_int(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300
