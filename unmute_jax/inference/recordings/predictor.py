"""Joins a trained probe and its encoder: windows in, scores and evidence out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax import distributed
from unmute_jax.encoders import Encoder
from unmute_jax.inference import explain
from unmute_jax.inference.recordings.windows import (
    Window,
    Windowing,
    make_windowing,
    pad_windows,
)
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.batches import default_batch_size
from unmute_jax.store.key import as_json
from unmute_jax.tokens import Tokens, summarise

# The share of the positive evidence that lies in the frequency band of an event.
BAND_SHARE = 0.5


class BatchScores(NamedTuple):
    """The scores of a batch of windows.

    Attributes:
        scores: The score of each class, in [0, 1].
        bands: The first and the last frequency patch with the evidence for each class;
            None if the probe cannot locate it.
        finite: Whether the tokens of each window are finite.
        steps: The score of each class in each time step, of a probe that was trained on
            time steps; None for other probes.
    """

    scores: Float[np.ndarray, "B C"]
    bands: Int[np.ndarray, "B C 2"] | None
    finite: Bool[np.ndarray, "B"]
    steps: Float[np.ndarray, "B T C"] | None = None


class Predictor:
    """Scores windows of recordings with a trained probe, on all devices.

    Attributes:
        trained: The trained probe.
        encoder: The encoder whose tokens the probe was trained on.
        batch_size: The number of windows per batch.
    """

    def __init__(
        self, trained: TrainedProbe, encoder: Encoder, batch_size: int | None = None
    ):
        """Joins a probe and an encoder.

        Raises:
            InputError: The probe was trained on tokens of another encoder.
        """
        trained.check_encoder(encoder)
        self.trained, self.encoder = trained, encoder
        self._mesh = distributed.make_mesh()
        size = batch_size or default_batch_size()
        self.batch_size = -(-size // self._mesh.size) * self._mesh.size
        self._clip_input = encoder.clip_input(trained.clip_seconds)
        self._params = distributed.replicate(trained.params, self._mesh)
        needs_layers = trained.reading.needs_layers
        self._encode = encoder.on(self._mesh, all_layers=needs_layers)
        # Each device processes its own windows, one at a time.
        self._predict = distributed.pmapped(
            self._predict_shard, self._mesh, in_axes=(None, 0, 0), out_axes=0
        )
        self._explain = distributed.pmapped(
            self._explain_shard, self._mesh, in_axes=(None, 0), out_axes=0
        )

    def windowing(self, overlap: float) -> Windowing:
        """Windows with the length of the clips that the probe was trained on.

        Args:
            overlap: The share of a window that overlaps with the next one.
        """
        return make_windowing(self.encoder, self.trained.clip_seconds, overlap)

    def identity(self, windowing: Windowing) -> dict[str, Any]:
        """Everything that changes the scores of a recording, as plain JSON."""
        trained = self.trained
        arrays = trained.params, trained.normaliser and asdict(trained.normaliser)
        digest = hashlib.sha256()
        for path, leaf in jax.tree.leaves_with_path(arrays):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.asarray(leaf).tobytes())
        # Older versions did not write the scores of time steps.
        steps = {"steps": True} if trained.is_framewise else {}
        return {
            **steps,
            "probe": trained.name,
            "options": as_json(trained.options),
            "parameters": f"sha256:{digest.hexdigest()}",
            "classes": list(trained.classes),
            "encoder": trained.encoder,
            "tokens": trained.dtype,
            "window_seconds": windowing.seconds(windowing.samples),
            "hop_seconds": windowing.seconds(windowing.hop),
        }

    def score(self, windows: Sequence[Window]) -> BatchScores:
        """Scores up to `batch_size` windows, and locates the evidence in frequency."""
        logits, profile, finite, frames = jax.device_get(
            self._predict(self._params, *self._tokens(windows))
        )
        b = len(windows)
        return BatchScores(
            scores=scores_of(logits[:b], self.trained.task),
            bands=None if profile is None else narrowest_bands(profile[:b]),
            finite=finite[:b],
            steps=None if frames is None else np.asarray(jax.nn.sigmoid(frames[:b])),
        )

    def evidence(self, windows: Sequence[Window]) -> Float[np.ndarray, "B C T F"]:
        """Maps of what each cell contributes to the logit of each class.

        Raises:
            InputError: The probe has no such maps.
        """
        explain.check_prototypical(self.trained.probe)
        _, inputs = self._tokens(windows)
        return np.asarray(self._explain(self._params, inputs))[: len(windows)]

    def means(self, windows: Sequence[Window]) -> Float[np.ndarray, "B D"]:
        """The means over the tokens of up to `batch_size` windows.

        They are those that token stores keep, of the layer that the probe reads.
        """
        tokens = self._encode(*pad_windows(windows, self.batch_size, self._clip_input))
        layer = self.trained.reading.layer
        if layer is not None and tokens.layer is None:
            tokens = tokens.of_layer(layer)
        return np.asarray(summarise(tokens.floats()).mean)[: len(windows)]

    def _tokens(self, windows: Sequence[Window]) -> tuple[Tokens, Any]:
        """The tokens of the encoder, and the input of the probe."""
        tokens = self._encode(*pad_windows(windows, self.batch_size, self._clip_input))
        return tokens, self.trained.prepare(tokens)

    def _predict_shard(
        self, params: Any, tokens: Tokens, inputs: Any
    ) -> tuple[Array, Array | None, Array, Array | None]:
        logits, frames = self.trained.apply(params, inputs), None
        if self.trained.is_framewise:
            frames = self.trained.apply_frames(params, inputs)
        profile = None
        if explain.is_prototypical(self.trained.probe):
            maps = self._explain_shard(params, inputs)
            profile = jnp.nansum(jax.nn.relu(maps), axis=2)
        finite = jnp.isfinite(tokens.patches).all((1, 2, 3))
        return logits, profile, finite, frames

    def _explain_shard(self, params: Any, inputs: Any) -> Array:
        variables = {"params": params}
        maps = explain.contribution_maps(self.trained.probe, variables, inputs)
        # `proto` may have enlarged the map; sum it to one value per token.
        b, c = maps.shape[:2]
        t, f = self.encoder.grid(self.trained.clip_seconds)
        return maps.reshape(b, c, t, maps.shape[2] // t, f, -1).sum((3, 5))


def scores_of(logits: Float[np.ndarray, "B C"], task: str) -> Float[np.ndarray, "B C"]:
    """Applies a sigmoid for multi-label tasks, and a softmax for single-label ones."""
    scores = jax.nn.sigmoid if task == "multi-label" else jax.nn.softmax
    return np.asarray(scores(logits))


def narrowest_bands(profile: Float[np.ndarray, "B C F"]) -> Int[np.ndarray, "B C 2"]:
    """Finds the fewest adjacent patches with `BAND_SHARE` of the evidence.

    Args:
        profile: The non-negative evidence per class and frequency patch.

    Returns:
        The first and the last patch. Among equally narrow bands it is the one with the
        most evidence; without any evidence it is the whole range.
    """
    f = profile.shape[2]
    sums = np.pad(profile.astype(np.float64).cumsum(2), ((0, 0), (0, 0), (1, 0)))
    total = sums[:, :, -1]
    bands = np.zeros((*total.shape, 2), np.int64)
    bands[..., 1] = f - 1
    for width in range(f - 1, 0, -1):
        inside = sums[:, :, width:] - sums[:, :, :-width]
        best = inside.argmax(2)
        enough = (total > 0) & (inside.max(2) >= BAND_SHARE * total)
        bands[enough] = np.stack([best, best + width - 1], axis=2)[enough]
    return bands
